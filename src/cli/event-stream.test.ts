/** Whether a stream of events ended in an error, however it is cut into pieces. */
import { expect, test } from "vitest";
import { EventStream } from "./event-stream.ts";

const ITEM = 'data: {"token":"a"}\n\n';
const ERROR = 'event: error\ndata: {"erno":"PR.0101"}\n\n';

test.each([
  [ITEM, false],
  ["", false],
  [ITEM + ERROR, true],
  [ERROR + ITEM, false],
  [`${ITEM}${ERROR}: a comment\n\n`, true],
  [(ITEM + ERROR).trimEnd(), true],
  ["data: x\nevent: error\n\n", true],
  ['data: "event: error"\n\n', false],
  ["event:error\r\ndata: x\r\n\r\n", true],
  ["event: error\rdata: x\r\r", true],
  ["event: errors\ndata: x\n\n", false],
])("%j ends in an error: %s", (text, expected) => {
  const whole = new EventStream();
  whole.push(text);
  const pieces = new EventStream();
  for (const letter of text) pieces.push(letter);
  expect([whole.endsInError(), pieces.endsInError()]).toEqual([expected, expected]);
});

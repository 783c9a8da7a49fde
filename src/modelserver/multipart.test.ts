/** Forms come apart exactly as they were put together, and nothing malformed comes through. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readMultipart } from "./multipart.ts";

const TYPE = "multipart/form-data; boundary=xYz";
const form = (...lines: string[]): Buffer => Buffer.from(lines.join("\r\n"));
const read = (body: Buffer, type = TYPE) => {
  const result = readMultipart(type, body);
  if (result?.ok !== true) throw new Error(result === null ? "not a form" : result.reason);
  return result.parts.map((part, index) => ({ ...part, content: result.contents[index]?.toString() }));
};
const reason = (body: Buffer, type = TYPE): string => {
  const result = readMultipart(type, body);
  if (result === null || result.ok) throw new Error("it was accepted");
  return result.reason;
};
const DISPOSITION = 'Content-Disposition: form-data; name="a"';

test("files and fields keep their order, names and types", () => {
  const body = form(
    "--xYz",
    'Content-Disposition: form-data; name="images"; filename="a \\"b\\".jpg"',
    "Content-Type: image/jpeg",
    "",
    "first",
    "--xYz",
    'content-disposition: form-data; name=images; filename="C:\\x.jpg"',
    "",
    "",
    "--xYz",
    "Content-Disposition: form-data; name=\"n\"; filename*=UTF-8''na%C3%AFve.png",
    "",
    "x\r\n--xY\r\n",
    "--xYz  ",
    'Content-Disposition: form-data; name="größe"',
    "",
    "12",
    "--xYz--",
    "epilogue",
  );
  expect(read(body)).toEqual([
    { name: "images", filename: 'a "b".jpg', contentType: "image/jpeg", size: 5, content: "first" },
    { name: "images", filename: "C:\\x.jpg", size: 0, content: "" },
    { name: "n", filename: "naïve.png", size: 9, content: "x\r\n--xY\r\n" },
    { name: "größe", size: 2, content: "12" },
  ]);
});

test("what comes before the first boundary says nothing, and a form may be empty", () => {
  expect(read(form("preamble", "--xYz", DISPOSITION, "", "1", "--xYz--"))).toHaveLength(1);
  expect(read(form("--xYz--"))).toEqual([]);
  expect(readMultipart("application/json", Buffer.from("{}"))).toBeNull();
});

test.each([
  ["no usable boundary", form("--xYz--"), "multipart/form-data"],
  ["comes twice", form("--xYz--"), "multipart/form-data; boundary=a; boundary=b"],
  ["does not occur", form("{}"), TYPE],
  ["was cut off", form("--xYz", DISPOSITION, "", "1"), TYPE],
  ["does not end", form("--xYz", DISPOSITION), TYPE],
  ["no name", form("--xYz", "Content-Disposition: form-data", "", "1", "--xYz--"), TYPE],
  ["no Content-Disposition", form("--xYz", "Content-Type: text/plain", "", "1", "--xYz--"), TYPE],
  ["without a name", form("--xYz", "", "1", "", "--xYz--"), TYPE],
  ["two headers", form("--xYz", DISPOSITION, DISPOSITION, "", "1", "--xYz--"), TYPE],
  [
    "transfer encoding",
    form("--xYz", DISPOSITION, "Content-Transfer-Encoding: base64", "", "1", "--xYz--"),
    TYPE,
  ],
  ["control characters", form("--xYz", `${DISPOSITION}; filename="\u0001"`, "", "1", "--xYz--"), TYPE],
  ["other bytes", form("--xYzz", DISPOSITION, "", "1", "--xYz--"), TYPE],
  [
    "more than 500 parts",
    form(...Array<string>(501).fill(`--xYz\r\n${DISPOSITION.slice(0, 47)}\r\n\r\n1`), "--xYz--"),
    TYPE,
  ],
])("refuses a form with the reason: %s", (text, body, type) => {
  expect(reason(body, type)).toContain(text);
});

test("any contents come back as they were sent", () => {
  const contents = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(contents, (given) => {
      const chunks = given.flatMap((content, index) => [
        Buffer.from(`--xYz\r\nContent-Disposition: form-data; name="f${index}"; filename="${index}"\r\n\r\n`),
        Buffer.from(content),
        Buffer.from("\r\n"),
      ]);
      const result = readMultipart(TYPE, Buffer.concat([...chunks, Buffer.from("--xYz--\r\n")]));
      if (result?.ok !== true) throw new Error("it was refused");
      expect(result.contents.map((content) => [...content])).toEqual(given.map((content) => [...content]));
    }),
  );
});

test("no bytes make it throw, and what it accepts lies within the body", () => {
  const pieces = fc.constantFrom(
    "--xYz",
    "\r\n",
    "--",
    DISPOSITION,
    ": ",
    "\0",
    '"',
    "a",
    "; filename=",
    "\r\n\r\n",
    " ",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (given) => {
      const body = Buffer.from(given.join(""));
      const result = readMultipart(TYPE, body);
      if (result?.ok === true) {
        const size = result.parts.reduce((sum, part) => sum + part.size, 0);
        expect(size).toBeLessThanOrEqual(body.length);
      }
    }),
    { numRuns: 2000 },
  );
});

/** The examples of the heavy engines. */
import { AVAILABLE_ENGINES } from "../../src/core/engines.ts";
import { LIGHT_ENGINES, testExamples } from "../support/examples.ts";

testExamples(AVAILABLE_ENGINES.filter((engine) => !LIGHT_ENGINES.includes(engine)));

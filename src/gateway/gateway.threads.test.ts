/** The gateway's guarantees once more, with several threads behind one port. */
import { useThreads } from "./world.fixture.ts";

useThreads(3);
await import("./gateway.test.ts");

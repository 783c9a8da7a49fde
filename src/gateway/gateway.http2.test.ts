/** What the gateway promises callers holds over HTTP/2 as well: the same suite, through another door. */
import { speak } from "./world.fixture.ts";

speak("http2");
await import("./gateway.test.ts");

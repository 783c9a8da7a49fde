/**
 * Where every process of the platform begins: keeps compiled code between starts, then runs main.ts. Plain JavaScript
 * so that the cache is on before the first TypeScript file is read: node then takes the stripped text from it as well,
 * and a process whose modules are all in the cache never loads the type stripper (15 MB, and half of a start's time).
 */
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

// Beside the modules, not in the shared temporary folder, where others could write it.
enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/modelport-compiled", import.meta.url)));

await import("./main.ts");

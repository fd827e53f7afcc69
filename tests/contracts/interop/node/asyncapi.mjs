// Whether the official parser takes the AsyncAPI document: prints what it found, or what it complains about.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const complaints = diagnostics.map(({ code, path, message }) => `${code} at ${path.join(".")}: ${message}`);
const channels = document?.channels().all().length;
const operations = document?.operations().all().length;
console.log(JSON.stringify({ version: document?.version(), channels, operations, complaints }));

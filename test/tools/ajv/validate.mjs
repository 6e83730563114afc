#!/usr/bin/env node
// validate.mjs SCHEMA DOCUMENT...: checks JSON documents against a JSON Schema, draft 7 or 2020-12; of a .jsonl each line is one.
// Exit code 0: all are valid; 1: one is not, and standard output says where; 2: anything else.
import { readFileSync } from "node:fs";
import Ajv from "ajv";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

process.on("uncaughtException", (err) => {
  console.error(`validate: ${err.message}`);
  process.exit(2);
});

const [schemaFile, ...files] = process.argv.slice(2);
if (files.length === 0) throw new Error("want a schema and at least one document");

const schema = JSON.parse(readFileSync(schemaFile, "utf8"));
const drafts = { "http://json-schema.org/draft-07/schema#": Ajv, "https://json-schema.org/draft/2020-12/schema": Ajv2020 };
const Draft = drafts[schema.$schema];
if (!Draft) throw new Error(`${schemaFile}: $schema is ${schema.$schema}: want one of ${Object.keys(drafts).join(", ")}`);
const ajv = new Draft({ strict: false, allErrors: false }); // strict is about how a schema is written, and OSCAL's is not
addFormats(ajv);
const valid = ajv.compile(schema);

let refused = false;
for (const file of files) {
  const text = readFileSync(file, "utf8");
  const documents = file.endsWith(".jsonl") ? text.split("\n") : [text, ""];
  if (documents.pop() !== "") throw new Error(`${file}: its last line has no end`);
  if (documents.length === 0) throw new Error(`${file}: no document in it`);
  documents.forEach((document, i) => {
    if (valid(JSON.parse(document))) return;
    refused = true;
    const where = documents.length > 1 ? `${file}:${i + 1}` : file;
    for (const e of valid.errors) console.log(`${where}: ${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`);
  });
}
process.exitCode = refused ? 1 : 0;

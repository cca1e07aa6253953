// What Log Analytics says to queries: node kusto.js FOLDER <{"tables": {name: columns}, "queries": {name: text}}
// FOLDER holds the language service; it is written for browsers, and finds what it needs in the global scope.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { runInThisContext } = require("node:vm");

for (const file of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  runInThisContext(readFileSync(join(process.argv[2], file), "utf8"), file);
}
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

function errorsOf(query, globals) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index))
    .filter((each) => each.Severity === "Error")
    .map((each) => `${query.slice(0, each.Start).split("\n").length}: ${each.Message}`);
}

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const symbols = Object.entries(tables).map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, `(${columns})`, null));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor3("workspace", null, symbols, false));
const answer = Object.entries(queries).map(([name, text]) => [name, errorsOf(text, globals)]);
console.log(JSON.stringify(Object.fromEntries(answer)));

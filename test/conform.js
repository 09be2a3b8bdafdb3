/*
 * conform.js
 *		Holds recorded exchanges against Clari's OpenAPI document: see conform.sh.
 *
 *		node test/conform.js DOCUMENT DIRECTORY
 *
 * The directory has what clari_sim.py writes with CLARI_SIM_RECORD: a line of JSON
 * for each request and its answer.  NODE_PATH leads to @stoplight/prism-http, whose
 * validation is that of `prism proxy`; it judges each exchange alone, so that the
 * tests keep their connections, their faults and their speed.
 *
 * Every request is judged.  An answer is, unless the simulator noted a liberty in it
 * (a fault, or a setting that leaves the document).
 *
 * Not judged, since the document has nothing to judge it by: what comes from a link
 * on another host (/download), the Forecast API (/forecast), which it does not list
 * any more, and the contents of a result, of which it has an example only.  The gateway's own answers, which it declares for another path
 * alone, are compared with that.  That its list of jobs has numbers with commas in
 * quotes matters in an example only.
 */
'use strict';

const fs = require('fs');
const path = require('path');
const RefParser = require('@stoplight/json-schema-ref-parser');
const { getHttpOperationsFromSpec } = require('@stoplight/prism-http/dist/utils/operations');
const { validateInput, validateOutput } = require('@stoplight/prism-http/dist/validator');

const BASE = '/v4';
const OURS = ['/export/forecast/{forecastId}', '/export/jobs/{jobId}', '/export/jobs/{jobId}/results', '/export/jobs', '/admin/limits'];
const GATEWAY = ['/export/activity', 'post', '401'];

/* Calls visit for each object in the value, the innermost first. */
function walk(value, visit) {
  if (value === null || typeof value !== 'object')
    return;
  Object.values(value).forEach((inner) => walk(inner, visit));
  if (!Array.isArray(value))
    visit(value);
}

/*
 * Makes the document say what it means.  Nothing in its answers is required, so
 * whatever is an object fits each alternative of a oneOf, and so, by the letter, none
 * of Clari's own examples conforms.  And anything would pass: its examples of code
 * and namespace are the only ones that there are, and what it does not name is not sent.
 */
function sharpen(schema, example) {
  if (schema.oneOf) {
    schema.anyOf = schema.oneOf;
    delete schema.oneOf;
  }
  if (!schema.properties)
    return;
  for (const name of ['code', 'namespace'].filter((each) => schema.properties[each])) {
    schema.properties[name] = { ...schema.properties[name], enum: [schema.properties[name].example] };
    schema.required = [...new Set([...(schema.required || []), name])];
  }
  for (const name of Object.keys(example || {}))
    schema.properties[name] = schema.properties[name] || {};
  schema.additionalProperties = false;
}

/* Whether a schema is of one job, which has an attribute that only the example names. */
function isJob(schema) {
  return schema.properties && schema.properties.jobId && schema.properties.status;
}

async function readOperations(file) {
  const document = await new RefParser().dereference(file);
  const job = document.paths['/export/jobs/{jobId}'].get.responses['200'].content['application/json'];
  const done = new Set();
  for (const name of OURS)
    for (const operation of Object.values(document.paths[name]))
      for (const response of Object.values(operation.responses))
        walk(response.content['application/json'].schema, (schema) => {
          if (!done.has(schema))
            sharpen(schema, isJob(schema) ? job.example : undefined);
          done.add(schema);
        });
  return getHttpOperationsFromSpec(document);
}

/* The operation that a request is for, undefined if there is none. */
function findOperation(operations, method, pathname) {
  const parts = pathname.split('/');
  return operations.find((operation) => {
    const wanted = operation.path.split('/');
    return operation.method === method && wanted.length === parts.length &&
      wanted.every((part, i) => (part.startsWith('{') ? parts[i] !== '' : part === parts[i]));
  });
}

function parseQuery(search) {
  const query = {};
  for (const [name, value] of search)
    query[name] = name in query ? [].concat(query[name], value) : value;
  return query;
}

function parseBody(text, fallback) {
  try {
    return JSON.parse(text);
  } catch {
    return fallback;
  }
}

function isDecodable(text) {
  try {
    return decodeURIComponent(text) !== undefined;
  } catch {
    return false;
  }
}

/*
 * Of a result of prism's: what is wrong, as texts, in which all items of a list are
 * the same.  Warnings count: a status that is not declared is one.
 */
function complaints(result, subject) {
  const text = (each) => [each.message, ...(each.path || [])].join(' ').replace(/\b\d+\b/g, 'N');
  return result._tag === 'Left' ? [...new Set(result.left.map(text))].map((each) => `${subject}: ${each}`) : [];
}

/* Whether the gateway answered, which comes before the service and knows nothing of its operations. */
function isOfGateway(answer) {
  const body = parseBody(answer.body, {});
  return [401, 404, 429].includes(answer.status) && Object.keys(body).join() === 'message' && typeof body.message === 'string';
}

function judge(operations, exchange, count) {
  const url = new URL(exchange.target, 'http://localhost');
  if (exchange.step === 'download' || exchange.step === 'read')
    return [];
  const operation = url.pathname.startsWith(`${BASE}/`) &&
    findOperation(operations, exchange.method.toLowerCase(), url.pathname.slice(BASE.length));
  if (!operation)
    return ['request: it is for nothing that the document knows'];
  count('requests');
  const request = { method: operation.method, headers: exchange.headers, body: exchange.body === '' ? undefined : parseBody(exchange.body, exchange.body),
    url: { path: url.pathname.slice(BASE.length), query: parseQuery(url.searchParams) } };
  const wrong = isDecodable(url.pathname) ? complaints(validateInput({ resource: operation, element: request }), 'request')
    : ['request: its path cannot be decoded'];
  const answer = exchange.answer;
  if (!answer)
    count('requests without an answer');
  else if (answer.liberties.length > 0)
    count('answers with liberties, which are not judged');
  else if (isOfGateway(answer)) {
    count('answers of the gateway');
    const gateway = operations.find((each) => each.path === GATEWAY[0] && each.method === GATEWAY[1]);
    const element = { statusCode: Number(GATEWAY[2]), headers: answer.headers, body: parseBody(answer.body) };
    wrong.push(...complaints(validateOutput({ resource: gateway, element }), 'answer of the gateway'));
  } else {
    count('answers');
    const element = { statusCode: answer.status, headers: answer.headers, body: answer.body === null ? undefined : parseBody(answer.body, answer.body) };
    wrong.push(...complaints(validateOutput({ resource: operation, element }), `answer ${answer.status}`));
  }
  return wrong.map((text) => `${operation.method.toUpperCase()} ${operation.path}: ${text}`);
}

/* Of each kind a way to spoil an exchange that the judge must notice; else what he let pass means nothing. */
const SPOILERS = {
  post: (exchange) => ({ ...exchange, body: '{"schedule":"DAILY"}' }),
  poll: (exchange) => ({ ...exchange, answer: { ...exchange.answer, body: '{"userId":"me"}' } }),
};

/* Spoilers that go unnoticed; each is taken for the first exchange that it fits and that is right. */
function unnoticed(operations, exchange, spoilers) {
  const spoil = spoilers[exchange.step];
  if (!spoil || !exchange.answer || exchange.answer.status !== 200 || exchange.answer.liberties.length > 0)
    return [];
  delete spoilers[exchange.step];
  return judge(operations, spoil(exchange), () => {}).length > 0 ? [] : [`a ${exchange.step} that is spoiled goes unnoticed`];
}

async function main(file, directory) {
  const operations = await readOperations(file);
  const counts = {};
  const violations = new Map();
  const spoilers = { ...SPOILERS };
  const count = (what) => { counts[what] = (counts[what] || 0) + 1; };
  for (const name of fs.readdirSync(directory))
    for (const line of fs.readFileSync(path.join(directory, name), 'utf8').split('\n').filter(Boolean)) {
      const exchange = JSON.parse(line);
      count('exchanges');
      for (const text of [...judge(operations, exchange, count), ...unnoticed(operations, exchange, spoilers)])
        violations.set(text, [...(violations.get(text) || []), line]);
    }
  for (const [text, lines] of violations)
    console.log(`${lines.length} times: ${text}\n  such as ${lines[0].slice(0, 2000)}`);
  const total = [...violations.values()].reduce((sum, lines) => sum + lines.length, 0);
  console.log(`${Object.entries(counts).map(([what, number]) => `${number} ${what}`).join(', ')}; ${total} violations`);
  for (const step of Object.keys(spoilers))
    console.log(`There was no good ${step} to try the judge with.`);
  process.exit(total > 0 || Object.keys(spoilers).length > 0 ? 1 : 0);
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});

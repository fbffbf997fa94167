// Forwards HTTP requests to `agent-team serve` and adds its token, for `cargo xtask test mcp`: the conformance suite sends
// no Authorization header. Prints its own address. Exits when stdin is closed.
//
//     node add-token.cjs HOST:PORT TOKEN
"use strict";
const http = require("node:http");

const [target, token] = process.argv.slice(2);
const [host, port] = target.split(":");

const server = http.createServer((request, response) => {
  const { method, url: path } = request;
  const headers = { ...request.headers, authorization: `Bearer ${token}` };
  // Requests with another Host are forwarded unchanged; the service refuses them.
  if (headers.host === own()) headers.host = target;
  const forwarded = http.request({ host, port, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  forwarded.on("error", () => response.destroy());
  response.on("close", () => forwarded.destroy());
  request.pipe(forwarded);
});
const own = () => `127.0.0.1:${server.address().port}`;
server.listen(0, "127.0.0.1", () => console.log(own()));
process.stdin.on("end", () => process.exit(0)).resume();

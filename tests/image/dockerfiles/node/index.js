"use strict";

const http = require("http");
const sieve = require("./lib/sieve");
const { version } = require("./package.json");

if (process.argv[2]) {
  console.log(sieve(Number(process.argv[2])).join(" "));
} else {
  const server = http.createServer((request, response) => {
    response.end(`primes ${version}: ${sieve(20)}\n`);
  });
  server.listen(Number(process.env.PORT || 3000), "127.0.0.1", () => {
    const { port } = server.address();
    http.get({ port, host: "127.0.0.1" }, (answer) => {
      answer.on("data", (data) => process.stdout.write(data));
      answer.on("end", () => server.close());
    });
  });
}

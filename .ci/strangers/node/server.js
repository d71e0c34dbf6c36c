// A shop on grpc-js with reflection: `node server.js POD` prints its port and an empty line, and serves until it is killed.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { ReflectionService } = require('@grpc/reflection');

const pod = process.argv[2];
const definition = loader.loadSync(`${__dirname}/shop.proto`, { includeDirs: [__dirname] });
const server = new grpc.Server();
server.addService(grpc.loadPackageDefinition(definition).shop.Shop.service, {
  Buy: (call, reply) => reply(null, { pod, item: call.request.item, at: call.request.at }),
});
new ReflectionService(definition).addToServer(server);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n\n`);
});

// A whymatch client in another language, from the .proto files alone:
//
//   node client.mjs ADDRESS PROTO_FOLDER GALLERY IMAGE...
//
// Makes the gallery, adds the image files, searches for the first of them, and prints one JSON document.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const DEADLINE_MS = 30_000;
const OPTIONS = { "grpc.max_receive_message_length": -1, "grpc.enable_http_proxy": 0 };
// What is read of messages that are not whymatch's own.
const STANDARD = protobuf.parse(`
  syntax = "proto3";
  message Health { int32 status = 1; }
  message Status { repeated Detail details = 3; }
  message Detail { bytes value = 2; }
  message ErrorInfo { string reason = 1; }
`).root;
const [address, protoFolder, gallery, ...files] = process.argv.slice(2);

const definition = protoLoader.loadSync(
  ["gallery_service", "search_service"].map((name) => `whymatch/v1/${name}.proto`),
  { includeDirs: [protoFolder], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
const { GalleryService, SearchService } = grpc.loadPackageDefinition(definition).whymatch.v1;
const galleries = new GalleryService(address, grpc.credentials.createInsecure(), OPTIONS);
const searches = new SearchService(address, grpc.credentials.createInsecure(), OPTIONS);

const [Health, Status, ErrorInfo] = ["Health", "Status", "ErrorInfo"].map((name) => STANDARD.lookupType(name));

async function main() {
  const health = await checkHealth();
  const { name: parent, model } = await call(galleries, "CreateGallery", { gallery_id: gallery });
  const added = await addImages(parent);
  const query = { content: readFileSync(files[0]) };
  const { matches } = await call(searches, "Search", { parent, image: query, with_maps: true });
  return { health, model, added, matches: matches.map(summary) };
}

function summary({ image, score, query_map, match_map }) {
  return { name: basename(image.name), score, query_map_sum: sum(query_map.values), match_map_sum: sum(match_map.values) };
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function call(client, method, request) {
  return promisify(client[method].bind(client))(request, { deadline: Date.now() + DEADLINE_MS });
}

// Sends all files over one stream; the server answers each once it is stored.
async function addImages(parent) {
  const stream = galleries.AddImages({ deadline: Date.now() + DEADLINE_MS });
  for (const file of files) {
    stream.write({ parent, image_id: basename(file), content: readFileSync(file) });
  }
  stream.end();
  const added = [];
  for await (const { image_id, result, error } of stream) {
    added.push(result === "error" ? { name: image_id, reason: error.reason } : { name: image_id });
  }
  return added;
}

// The standard health service: an empty request asks for the whole server.
async function checkHealth() {
  const method = ["/grpc.health.v1.Health/Check", (request) => request, (answer) => Health.decode(answer)];
  const { status } = await promisify(galleries.makeUnaryRequest.bind(galleries))(...method, Buffer.alloc(0));
  return status === 1 ? "SERVING" : "NOT_SERVING";
}

// The reason of a failed call is in a trailer: a google.rpc.Status whose detail is an ErrorInfo.
function reason(failure) {
  const [trailer] = failure.metadata?.get("grpc-status-details-bin") ?? [];
  const [detail] = trailer ? Status.decode(trailer).details : [];
  return detail ? ErrorInfo.decode(detail.value).reason : "";
}

try {
  console.log(JSON.stringify(await main()));
} catch (failure) {
  const error = { code: grpc.status[failure.code], reason: reason(failure), message: failure.details ?? `${failure}` };
  console.log(JSON.stringify({ error }));
  process.exitCode = 1;
}
galleries.close();
searches.close();

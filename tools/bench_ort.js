// ONNX Runtime's side of tools/bench_peers: node bench_ort.js MODEL 1,3,32,32 float32|int64 THREADS SECONDS
// prints {"ms": median, "min_ms": ..., "first_ms": session creation and first run, "mb": peak};
// onnxruntime-node is looked for in NODE_PATH.
const ort = require('onnxruntime-node');
const [model, dims, type, threads, seconds] = process.argv.slice(2);

async function main() {
  const shape = dims.split(',').map(Number);
  const length = shape.reduce((a, b) => a * b, 1);
  const data = type === 'int64' ? BigInt64Array.from({ length }, (_, i) => BigInt((i * 7919) % 4096))
    : Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37));
  const start = process.hrtime.bigint();
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: Number(threads), interOpNumThreads: 1, graphOptimizationLevel: 'all' });
  const x = new ort.Tensor(type, data, shape);
  await session.run({ x });
  const first_ms = Number(process.hrtime.bigint() - start) / 1e6;
  for (let i = 0; i < 3; i++) await session.run({ x });
  const times = [];
  const end = Date.now() + 1000 * Number(seconds);
  while (Date.now() < end || times.length < 5) {
    const began = process.hrtime.bigint();
    await session.run({ x });
    times.push(Number(process.hrtime.bigint() - began) / 1e6);
  }
  times.sort((a, b) => a - b);
  const mb = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ ms: times[times.length >> 1], min_ms: times[0], first_ms, mb }));
}

main().catch((e) => { console.error(String(e)); process.exit(1); });

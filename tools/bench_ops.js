// ONNX Runtime's side of tools/bench_ops. Reads lines {"model": file, "inputs": {name: [type, sizes]}, "threads": N,
// "seconds": S} and answers each with {"ms": median} or {"error": text}; onnxruntime-node is looked for in NODE_PATH.
const ort = require('onnxruntime-node');
const readline = require('readline');

function random(type, dims) {
  const length = dims.reduce((a, b) => a * b, 1);
  const make = {
    float32: () => Float32Array.from({ length }, () => Math.random() * 0.8 + 0.1),
    int64: () => BigInt64Array.from({ length }, (_, i) => BigInt((i * 7919) % 10)),
    uint8: () => Uint8Array.from({ length }, (_, i) => (i * 7919) % 251),
    bool: () => Uint8Array.from({ length }, (_, i) => ((i * 7919) % 3 === 0 ? 1 : 0)),
  };
  return new ort.Tensor(type, make[type](), dims);
}

async function measure({ model, inputs, threads, seconds }) {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: threads, interOpNumThreads: 1, graphOptimizationLevel: 'all', logSeverityLevel: 4 });
  const feeds = {};
  for (const name in inputs) feeds[name] = random(...inputs[name]);
  // Results go to the same memory in every run.
  let results = await session.run(feeds);
  if (Object.values(results).some((t) => t.type === 'string')) results = session.outputNames;
  for (let i = 0; i < 3; i++) await session.run(feeds, results);
  const times = [];
  const end = Date.now() + 1000 * seconds;
  while (Date.now() < end || times.length < 5) {
    const began = process.hrtime.bigint();
    await session.run(feeds, results);
    times.push(Number(process.hrtime.bigint() - began) / 1e6);
  }
  await session.release();
  times.sort((a, b) => a - b);
  return times[times.length >> 1];
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { ms: await measure(JSON.parse(line)) };
    } catch (e) {
      answer = { error: String(e.message || e).slice(0, 300) };
    }
    console.log(JSON.stringify(answer));
  }
})();

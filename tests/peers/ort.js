// node ort.js MODEL N,C,H,W: runs the model in ONNX Runtime on a JSON list of numbers; prints its first output.
const ort = require('onnxruntime-node');

async function main() {
  const [model, shape] = process.argv.slice(2);
  const values = Float32Array.from(JSON.parse(require('fs').readFileSync(0, 'utf8')));
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  const input = new ort.Tensor('float32', values, shape.split(',').map(Number));
  const outputs = await session.run({ [session.inputNames[0]]: input });
  console.log(JSON.stringify(Array.from(outputs[session.outputNames[0]].data)));
}

main();

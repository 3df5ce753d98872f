// Draws pictures of sentences with an exported model. docs/export.md says which files lie beside this one.
"use strict";

const form = document.querySelector("form");
const button = form.querySelector("button");
const say = (text) => { document.querySelector("[role=status]").textContent = text; };

// The first input of the program for one sentence, as model.json describes; null if nothing is read.
function read(reader, sentence) {
  const text = sentence.toLowerCase();
  if (reader.kind === "characters") {
    const read = Uint8Array.from({ length: reader.length }, () => 0);
    const codes = [...text].slice(0, reader.length).map((letter) => letter.codePointAt(0));
    codes.forEach((code, i) => { read[i] = reader.table[code < 128 ? code : 0]; });
    return read.some((index) => index && index !== reader.table[0]) ? read : null;
  }
  const words = [...new Set(text.match(/[\p{L}\p{N}]+/gu))];
  const numbers = words.map((word) => reader.vocabulary.indexOf(word) + 1).filter(Boolean);
  const read = Int32Array.from({ length: reader.length }, (_, i) => numbers[i] ?? 0);
  return numbers.length ? read : null;
}

// Uniform numbers in (0, 1) of a seed (mulberry32).
function uniform(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

// Normal numbers, drawn again where they lie beyond the limit (Box and Muller, 1958).
function normal(random, limit) {
  for (;;) {
    const x = Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    if (Math.abs(x) <= limit) return x;
  }
}

// z and every ε of one picture: of each seed the same, alone or among others.
function noise(about, seed) {
  const random = uniform(seed);
  const [limit, scale] = [about.truncated_epsilon ? 2 : Infinity, about.epsilon_scale];
  return about.noise.map((width, i) => Float32Array.from(
    { length: width }, () => (i ? scale * normal(random, limit) : normal(random, Infinity))));
}

// One picture of every stage: [{data, size}, …].
async function draw(session, about, text, seed) {
  const values = [text, ...noise(about, seed)];
  const feeds = {};
  session.inputNames.forEach((name, i) => {
    feeds[name] = new ort.Tensor(values[i], [1, values[i].length]);
  });
  const drawn = await session.run(feeds);
  return session.outputNames.map((name, i) => ({ data: drawn[name].data, size: about.sizes[i] }));
}

// Shows a picture, which the browser's menu can save.
function show({ data, size }, description) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", description);
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    image.data.set([...data.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const figure = document.createElement("figure");
  figure.append(canvas);
  document.querySelector("#pictures").append(figure);
}

async function submit(session, about) {
  const { sentence, count, seed } = Object.fromEntries(new FormData(form));
  const text = read(about.reader, sentence);
  if (!text) return say("The model can read nothing of this sentence; write it in words that it knows.");
  document.querySelector("#pictures").replaceChildren();
  for (let i = 0; i < Number(count); i++) {
    say(`Drawing ${i + 1} of ${count} …`);
    const pictures = await draw(session, about, text, Number(seed) + i);
    pictures.forEach((each, j) => show(each, `${sentence}, seed ${Number(seed) + i}, stage ${j + 1}`));
  }
  say(`Drawn: ${sentence}`);
}

async function start() {
  if (!window.ort) throw new Error("there is no ort/ort.wasm.min.js; see docs/export.md");
  ort.env.wasm.wasmPaths = new URL("ort/", document.baseURI).href;
  const description = await fetch("model.json");
  if (!description.ok) throw new Error("there is no model.json; see docs/export.md");
  const about = await description.json();
  if (about.reader.kind === "embedding") throw new Error("its text encoder is not part of it");
  const session = await ort.InferenceSession.create("model.onnx");
  document.querySelector("#captions").append(...about.captions.map((text) => new Option(text)));
  form.elements.sentence.value = about.captions[0] ?? "";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await submit(session, about).catch((error) => say(`It can't be drawn: ${error.message}.`));
    button.disabled = false;
  });
  button.disabled = false;
  say("Write a sentence and press Enter.");
  form.elements.sentence.focus();
}

start().catch((error) => say(`The model can't be loaded: ${error.message}.`));

/** A *.caffemodel with the shapes of the guide's LeNet and weights of a fixed sequence: Caffe itself is needed to train one. */
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
const field = (number: number, content: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(content.length)]), content]);
const text = (number: number, value: string): Buffer => field(number, Buffer.from(value));

const blob = (shape: readonly number[], next: () => number): Buffer => {
  const values = Float32Array.from({ length: shape.reduce((all, size) => all * size, 1) }, next);
  const dims = field(1, Buffer.from(shape.flatMap(varint)));
  return Buffer.concat([field(5, Buffer.from(values.buffer)), field(7, dims)]);
};

const SHAPES: readonly (readonly [name: string, type: string, weights: readonly number[]])[] = [
  ["conv1", "Convolution", [20, 1, 5, 5]],
  ["conv2", "Convolution", [50, 20, 5, 5]],
  ["ip1", "InnerProduct", [500, 800]],
  ["ip2", "InnerProduct", [10, 500]],
];

/** The file's bytes, the same at every call. */
export const lenet = (): Uint8Array => {
  let state = 1;
  const next = (): number => {
    state = (state * 16807) % 2147483647;
    return (state / 2147483647 - 0.5) / 10;
  };
  const layers = SHAPES.map(([name, type, weights]) =>
    field(
      100,
      Buffer.concat([
        text(1, name),
        text(2, type),
        field(7, blob(weights, next)),
        field(7, blob([weights[0] ?? 0], next)),
      ]),
    ),
  );
  return Buffer.concat([text(1, "LeNet"), ...layers]);
};

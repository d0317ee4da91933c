/**
 * Runs `work` with the console's voice off. TensorFlow.js greets, warns and repeats itself while its packages load
 * ("Platform node has already been set", "The kernel … is already registered"), and none of it concerns a user. Only
 * synchronous work: another task's output is never swallowed. What `work` throws is thrown on.
 */
export function quietly<T>(work: () => T): T {
  const kept = { log: console.log, info: console.info, warn: console.warn, error: console.error, debug: console.debug };
  const silent = (): void => {};
  Object.assign(console, { log: silent, info: silent, warn: silent, error: silent, debug: silent });
  try {
    return work();
  } finally {
    Object.assign(console, kept);
  }
}

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    // Two workers: the class of machine this project measures itself on has two cores.
    maxWorkers: 2,
  },
});

/**
 * What TensorFlow is to read from the environment when its library loads; what the user set stays. Its log goes to
 * standard error: from "error" up is what a user should see. oneDNN's kernels announce themselves there at any level,
 * and for float32 at the sizes of adapters they are the slower ones (measured in docs/backends.md).
 */
export function tensorFlowDefaults(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return {
    TF_CPP_MIN_LOG_LEVEL: env["TF_CPP_MIN_LOG_LEVEL"] ?? "2",
    TF_ENABLE_ONEDNN_OPTS: env["TF_ENABLE_ONEDNN_OPTS"] ?? "0",
  };
}

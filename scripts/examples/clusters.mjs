/**
 * Clusters of instructions, as MoCLE finds them beforehand: k-means (Lloyd 1982) on a vector of each prompt. The vector here
 * is a bag of words, hashed into a few dimensions, where MoCLE takes a sentence embedding. The same on every machine: it
 * starts from prompts that lie far from each other, and nothing is drawn.
 */

const width = 64;
const rounds = 20;

/** A prompt's words, counted by hash and scaled to length 1. */
function vectorOf(text) {
  const v = new Array(width).fill(0);
  for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) {
    let h = 0x811c9dc5;
    for (let i = 0; i < word.length; i++) h = Math.imul(h ^ word.charCodeAt(i), 0x01000193);
    v[(h >>> 0) % width]++;
  }
  const length = Math.hypot(...v) || 1;
  return v.map((x) => x / length);
}

const distance = (a, b) => a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0);

const nearest = (v, centres) => centres.reduce((best, c, i) => (distance(v, c) < distance(v, centres[best]) ? i : best), 0);

/** For each prompt the number of its cluster, 0 to count - 1. */
export function clusters(prompts, count) {
  const vectors = prompts.map(vectorOf);
  // Farthest first: each centre is the prompt that is least like those before it.
  let centres = [vectors[0]];
  while (centres.length < count) {
    const gap = (v) => Math.min(...centres.map((c) => distance(v, c)));
    centres.push(vectors.reduce((far, v) => (gap(v) > gap(far) ? v : far)));
  }
  let found = [];
  for (let round = 0; round < rounds; round++) {
    found = vectors.map((v) => nearest(v, centres));
    centres = centres.map((c, k) => {
      const own = vectors.filter((_, i) => found[i] === k);
      return own.length === 0 ? c : c.map((_, d) => own.reduce((sum, v) => sum + v[d], 0) / own.length);
    });
  }
  return found;
}

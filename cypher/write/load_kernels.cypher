// title: Load kernels
// description: Create the kernels into some filters of a layer: one row per output filter, with lists over its inputs.
// mode: write
// parameter: source = "toy/input" -- uid of the source layer
// parameter: key = 1 -- key of the target layer
// parameter: rows = [] -- uid, start, weights, l1, l2, signRatio, sign of each output filter
// columns: written

CYPHER 25
MATCH (:Layer {uid: $source})-[:HAS_FILTER]->(a:Filter)
WITH a ORDER BY a.channel
WITH collect(a) AS sources
UNWIND $rows AS row
MATCH (b:Filter {uid: row.uid})
UNWIND range(0, size(row.l1) - 1) AS i
WITH sources[row.start + i] AS a, b, row, i
CREATE (a)-[:KERNEL {
  input: i, layer: $key, weights: row.weights[i],
  l1: row.l1[i], l2: row.l2[i], signRatio: row.signRatio[i], sign: row.sign[i]
}]->(b)
RETURN count(*) AS written

// title: Load kernels
// description: Create the kernels into some filters of a layer: one row per output filter, with lists over its inputs.
// mode: write
// parameter: layers = ["toy/input"] -- uids of the layers that it reads
// parameter: places = [0] -- per input channel the place of its filter among theirs, layer after layer; null: always zero
// parameter: key = 1 -- key of the target layer
// parameter: rows = [] -- uid, start, inputs (null: all), weights, l1, l2, signRatio, sign of each output filter
// columns: written

CYPHER 25
UNWIND range(0, size($layers) - 1) AS number
MATCH (:Layer {uid: $layers[number]})-[:HAS_FILTER]->(a:Filter)
WITH number, a ORDER BY number, a.channel
WITH collect(a) AS filters
WITH [place IN $places | filters[place]] AS sources
UNWIND $rows AS row
MATCH (b:Filter {uid: row.uid})
UNWIND range(0, size(row.l1) - 1) AS n
WITH b, row, n, sources, coalesce(row.inputs[n], n) AS i
WITH sources[row.start + i] AS a, b, row, n, i
CREATE (a)-[:KERNEL {
  input: i, layer: $key, weights: row.weights[n],
  l1: row.l1[n], l2: row.l2[n], signRatio: row.signRatio[n], sign: row.sign[n]
}]->(b)
RETURN count(*) AS written

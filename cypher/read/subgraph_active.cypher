// title: Subgraph of the active query
// description: Kernels whose active score reaches their layer's minimum, by range scans of the index on (layer, score).
// mode: read
// parameter: layers = [{"key": 2, "minimum": 0.0}] -- key and smallest score of each layer
// parameter: limit = 1000 -- number of kernels in all, highest scores of each layer first
// columns: source, target, input, score, sign, signRatio

CYPHER 25
UNWIND $layers AS row
CALL (row) {
  MATCH (a:Filter)-[k:KERNEL]->(b:Filter)
  WHERE k.layer = row.key AND k.score >= row.minimum
  RETURN a.uid AS source, b.uid AS target, k.input AS input, k.score AS score, k.sign AS sign,
    k.signRatio AS signRatio
  ORDER BY k.score DESC
  LIMIT $limit
}
RETURN source, target, input, score, sign, signRatio
LIMIT $limit

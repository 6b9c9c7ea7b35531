// title: Top kernels per layer
// description: The kernels with the highest score of the active query (of a signed criterion the largest), layer by layer: index range scans.
// mode: read
// parameter: model = "toy" -- name of the model
// parameter: above = 0.0 -- smallest score (signed: size), exclusive
// parameter: limit = 10 -- kernels per layer
// columns: layer, source, target, input, score, sign

CYPHER 25
MATCH (m:Model {name: $model})
OPTIONAL MATCH (q:Query {uid: m.activeQuery})
WITH m, coalesce(q.signed, false) AS signed
MATCH (m)-[:HAS_LAYER]->(l:Layer WHERE l.kind IN ['convolution', 'linear'])
CALL (l, signed) {
  CALL (l, signed) {
    MATCH (a:Filter)-[k:KERNEL {layer: l.key}]->(b:Filter)
    WHERE k.score > $above
    RETURN a, k, b
    ORDER BY k.score DESC
    LIMIT $limit
  UNION ALL
    FILTER signed
    MATCH (a:Filter)-[k:KERNEL {layer: l.key}]->(b:Filter)
    WHERE k.score < -$above
    RETURN a, k, b
    ORDER BY k.score
    LIMIT $limit
  }
  RETURN a, k, b
  ORDER BY CASE WHEN signed THEN abs(k.score) ELSE k.score END DESC
  LIMIT $limit
}
RETURN l.name AS layer, a.uid AS source, b.uid AS target, k.input AS input, k.score AS score, k.sign AS sign
ORDER BY l.index, CASE WHEN signed THEN abs(k.score) ELSE k.score END DESC

// title: Models
// description: All models with their size and state; layers and filters without additions, whose filters are `sums`. `kernels` is null unless the model is complete.
// mode: read
// columns: name, architecture, status, inputShape, layers, filters, sums, kernels, kernelsLeftOut, weights, heads, mixesChannels, activeQuery, createdAt

CYPHER 25
MATCH (m:Model)
OPTIONAL MATCH (m)-[:HAS_LAYER]->(l:Layer WHERE l.kind <> 'input')
WITH m, l, CASE WHEN l.kind = 'sum' THEN 1 ELSE 0 END AS isSum
WITH m, count(l) - sum(isSum) AS layers, sum(l.filters * (1 - isSum)) AS filters, sum(l.filters * isSum) AS sums,
  CASE m.status
    WHEN 'complete' THEN sum(l.filters * l.inputs * (1 - isSum)) - coalesce(m.kernelsLeftOut, 0)
  END AS kernels
RETURN m.name AS name, m.architecture AS architecture, m.status AS status, m.inputShape AS inputShape, layers, filters,
  sums, kernels, m.kernelsLeftOut AS kernelsLeftOut, m.weights AS weights, m.heads AS heads,
  m.mixesChannels AS mixesChannels, m.activeQuery AS activeQuery, m.createdAt AS createdAt
ORDER BY name

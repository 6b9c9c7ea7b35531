// title: Models
// description: All models with their size and state.
// mode: read
// columns: name, architecture, status, inputShape, layers, filters, activeQuery, createdAt

CYPHER 25
MATCH (m:Model)
OPTIONAL MATCH (m)-[:HAS_LAYER]->(l:Layer {kind: 'convolution'})
RETURN m.name AS name, m.architecture AS architecture, m.status AS status, m.inputShape AS inputShape,
  count(l) AS layers, sum(l.filters) AS filters, m.activeQuery AS activeQuery, m.createdAt AS createdAt
ORDER BY name

// title: Remove the nodes of a model
// description: Remove filters, layers, classes, queries, circuits, image sets, images, projections and the model itself.
// mode: write
// parameter: model = "gone" -- name of the model
// columns: nodes

CYPHER 25
CALL () {
  MATCH (n:Filter {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Layer {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Class {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Query {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Circuit {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Sweep {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:ImageSet {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Image {model: $model})
  RETURN n
  UNION ALL
  MATCH (n:Projection {model: $model})
  RETURN n
}
CALL (n) {
  DETACH DELETE n
} IN TRANSACTIONS OF 1000 ROWS
WITH count(*) AS parts
MATCH (m:Model {name: $model})
DETACH DELETE m
RETURN parts + 1 AS nodes

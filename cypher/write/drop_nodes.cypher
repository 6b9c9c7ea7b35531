// title: Remove the nodes of a model
// description: Remove filters, layers, queries, circuits, image sets, images, projections and the model itself.
// mode: write
// parameter: model = "gone" -- name of the model
// columns: nodes

CYPHER 25
MATCH (n:Filter|Layer|Query|Circuit|Sweep|ImageSet|Image|Projection {model: $model})
CALL (n) {
  DETACH DELETE n
} IN TRANSACTIONS OF 1000 ROWS
WITH count(*) AS parts
MATCH (m:Model {name: $model})
DETACH DELETE m
RETURN parts + 1 AS nodes

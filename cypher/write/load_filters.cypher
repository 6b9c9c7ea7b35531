// title: Load filters
// description: Create the filters of one layer.
// mode: write
// parameter: layer = "toy/conv1" -- uid of the layer
// parameter: labels = [] -- further labels, such as InputChannel
// parameter: rows = [] -- one map of properties per filter
// columns: written

CYPHER 25
MATCH (layer:Layer {uid: $layer})
UNWIND $rows AS row
CREATE (layer)-[:HAS_FILTER]->(f:Filter)
SET f = row
SET f:$($labels)
RETURN count(f) AS written

// title: Save the places of some layers
// description: One relationship per filter, from lists in channel order.
// mode: write
// parameter: run = "toy-2/projection/pca#" -- name of the writing, from `start_projection`
// parameter: rows = [] -- uid, u and v of each layer
// columns: written

CYPHER 25
MATCH (p:Projection {uid: $run, status: 'writing'})
UNWIND $rows AS row
MATCH (:Layer {uid: row.uid})-[:HAS_FILTER]->(f:Filter)
CREATE (p)-[:PLACES {u: row.u[f.channel], v: row.v[f.channel]}]->(f)
RETURN count(f) AS written

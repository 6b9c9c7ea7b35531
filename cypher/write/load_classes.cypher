// title: Load classes
// description: Create the classes of a model whose logits are filters, and connect each logit with its class.
// mode: write
// parameter: rows = [] -- uid of the `filter`, and `properties` of the class that it predicts
// columns: written

CYPHER 25
UNWIND $rows AS row
MATCH (f:Filter {uid: row.filter})
MERGE (c:Class {uid: row.properties.uid})
SET c = row.properties
CREATE (f)-[:PREDICTS]->(c)
RETURN count(c) AS written

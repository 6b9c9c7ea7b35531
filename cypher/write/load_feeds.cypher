// title: Load feeds
// description: Connect layers with the ordered operations between them.
// mode: write
// parameter: rows = [] -- source, target and properties of each feed
// columns: written

CYPHER 25
UNWIND $rows AS row
MATCH (a:Layer {uid: row.source})
MATCH (b:Layer {uid: row.target})
CREATE (a)-[feeds:FEEDS]->(b)
SET feeds = row.properties
RETURN count(feeds) AS written

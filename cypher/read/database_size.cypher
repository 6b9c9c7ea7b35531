// title: Size of the database
// description: All nodes, the complete models, the unfinished ones, and how many nodes belong to the latter.
// mode: read
// columns: nodes, models, unfinished, unfinishedNodes

CYPHER 25
MATCH (n)
WITH count(n) AS nodes
OPTIONAL MATCH (m:Model)
WITH nodes, m, CASE m.status
  WHEN 'ingesting' THEN 1 + COUNT { (m)-[:HAS_LAYER]->() } + COUNT { (m)-[:HAS_LAYER]->()-[:HAS_FILTER]->() }
    + COUNT { (m)-[:HAS_LAYER]->()-[:HAS_FILTER]->()-[:PREDICTS]->() }
    + COUNT { MATCH (:Projection {model: m.name}) }
  ELSE 0 END AS own
RETURN nodes, collect(CASE m.status WHEN 'complete' THEN m.name END) AS models,
  collect(CASE m.status WHEN 'ingesting' THEN m.name END) AS unfinished, sum(own) AS unfinishedNodes

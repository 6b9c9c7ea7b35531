// title: Size of the database
// description: All nodes, the models, those that are being ingested or removed, and how many nodes belong to the latter.
// mode: read
// parameter: names = "[A-Za-z0-9_.-]{1,100}" -- what the name of an unfinished model looks like; others count as complete
// columns: nodes, models, unfinished, unfinishedNodes

CYPHER 25
MATCH (n)
WITH count(n) AS nodes
OPTIONAL MATCH (m:Model)
WITH nodes, m, toStringOrNull(m.name) AS name,
  coalesce(m.status = 'ingesting' AND m.name =~ $names, false) AS isUnfinished
WITH nodes, m, name, isUnfinished, CASE WHEN isUnfinished THEN 1
    + COUNT { MATCH (n:Filter WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Layer WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Class WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Query WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Circuit WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Sweep WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:ImageSet WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Image WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
    + COUNT { MATCH (n:Projection WHERE n.uid STARTS WITH name + '/' AND n.model = name) }
  ELSE 0 END AS own
RETURN nodes, collect(CASE WHEN m IS NOT NULL AND NOT isUnfinished THEN coalesce(name, '?') END) AS models,
  collect(CASE WHEN isUnfinished THEN name END) AS unfinished, sum(own) AS unfinishedNodes

// title: Scores of a filter
// description: Its score under every saved query of its model, newest first, and its rank in its layer (1 is the highest; of signed criteria the largest).
// mode: read
// parameter: uid = "toy/conv2/0" -- uid of the filter
// columns: query, input, output, criterion, score, rank, filters

CYPHER 25
MATCH (l:Layer)-[:HAS_FILTER]->(f:Filter {uid: $uid})
MATCH (q:Query {model: f.model, status: 'complete'})-[s:SCORED]->(f)
WITH l, f, q, s, coalesce(q.signed, false) AS signed
RETURN q.uid AS query, q.input AS input, q.output AS output, q.criterion AS criterion, s.score AS score,
  1 + COUNT {
    (l)-[:HAS_FILTER]->(:Filter)<-[t:SCORED]-(q)
    WHERE CASE WHEN signed THEN abs(t.score) > abs(s.score) ELSE t.score > s.score END
  } AS rank,
  COUNT { (l)-[:HAS_FILTER]->(:Filter) } AS filters
ORDER BY q.createdAt DESC, query

// title: One Query per uid
// description: Uniqueness of Query.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT query_uid IF NOT EXISTS FOR (n:Query) REQUIRE n.uid IS UNIQUE

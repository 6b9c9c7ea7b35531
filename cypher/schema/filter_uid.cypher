// title: One Filter per uid
// description: Uniqueness of Filter.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT filter_uid IF NOT EXISTS FOR (n:Filter) REQUIRE n.uid IS UNIQUE

// title: One Circuit per uid
// description: Uniqueness of Circuit.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT circuit_uid IF NOT EXISTS FOR (n:Circuit) REQUIRE n.uid IS UNIQUE

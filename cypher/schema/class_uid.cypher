// title: One Class per uid
// description: Uniqueness of Class.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT class_uid IF NOT EXISTS FOR (n:Class) REQUIRE n.uid IS UNIQUE

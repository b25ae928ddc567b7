-- What the gateway wrote with its first schema (revision 0001): two servers, one of them paused, and one removed.
-- Made with `sqlite3.Connection.iterdump` from its own file.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE health_checks (
	id INTEGER NOT NULL,
	server_id VARCHAR(36) NOT NULL,
	checked_at VARCHAR(32) NOT NULL,
	ok BOOLEAN NOT NULL,
	reason TEXT DEFAULT '' NOT NULL,
	latency_ms FLOAT,
	source VARCHAR(16) NOT NULL,
	CONSTRAINT pk_health_checks PRIMARY KEY (id),
	CONSTRAINT fk_health_checks_server_id_model_servers FOREIGN KEY(server_id) REFERENCES model_servers (id) ON DELETE CASCADE
);
INSERT INTO "health_checks" VALUES(1,'8a6a4429-ddfe-45ac-9cba-60576f75d7c7','2030-01-01T00:00:00.000000+00:00',1,'',1.5,'check');
INSERT INTO "health_checks" VALUES(2,'f2a3ae03-083e-4335-9411-a8a70fa4392d','2030-01-01T00:00:01.000000+00:00',1,'',1.5,'check');
INSERT INTO "health_checks" VALUES(3,'128d22e3-cfe0-4bd6-accd-fe3be2cb15ff','2030-01-01T00:00:02.000000+00:00',1,'',1.5,'check');
INSERT INTO "health_checks" VALUES(4,'f2a3ae03-083e-4335-9411-a8a70fa4392d','2030-01-01T00:00:02.000000+00:00',0,'connection refused',0.0,'check');
CREATE TABLE model_servers (
	id VARCHAR(36) NOT NULL,
	endpoint_url TEXT NOT NULL,
	owner TEXT,
	api_key_ciphertext BLOB,
	engine VARCHAR(64) DEFAULT 'unknown' NOT NULL,
	discovers_models BOOLEAN DEFAULT 0 NOT NULL,
	max_concurrency INTEGER,
	priority INTEGER DEFAULT '0' NOT NULL,
	weight FLOAT DEFAULT '1' NOT NULL,
	share VARCHAR(16) DEFAULT 'everyone' NOT NULL,
	capabilities JSON NOT NULL,
	metadata JSON NOT NULL,
	paused BOOLEAN DEFAULT 0 NOT NULL,
	paused_reason TEXT DEFAULT '' NOT NULL,
	paused_until VARCHAR(32),
	quarantined BOOLEAN DEFAULT 0 NOT NULL,
	quarantined_reason TEXT DEFAULT '' NOT NULL,
	quarantined_until VARCHAR(32),
	blocked BOOLEAN DEFAULT 0 NOT NULL,
	blocked_reason TEXT DEFAULT '' NOT NULL,
	blocked_until VARCHAR(32),
	draining BOOLEAN DEFAULT 0 NOT NULL,
	draining_reason TEXT DEFAULT '' NOT NULL,
	draining_until VARCHAR(32),
	health_status VARCHAR(16) DEFAULT 'unknown' NOT NULL,
	health_reason TEXT DEFAULT '' NOT NULL,
	consecutive_failures INTEGER DEFAULT '0' NOT NULL,
	consecutive_successes INTEGER DEFAULT '0' NOT NULL,
	missing_models JSON NOT NULL,
	last_checked_at VARCHAR(32),
	last_transition_at VARCHAR(32),
	created_at VARCHAR(32) NOT NULL,
	updated_at VARCHAR(32) NOT NULL,
	deleted_at VARCHAR(32),
	CONSTRAINT pk_model_servers PRIMARY KEY (id)
);
INSERT INTO "model_servers" VALUES('8a6a4429-ddfe-45ac-9cba-60576f75d7c7','http://10.0.0.5:8000','key-of-owner',X'015542B7C01701C757DBFD60C08EDEAE7B8F5064B0497D76991281C56C413C968D1FDD4BC1A4C5A2','llama.cpp',0,4,0,1.0,'everyone','{}','{"owner": "lab"}',1,'moving house',NULL,0,'',NULL,0,'',NULL,0,'',NULL,'healthy','',0,1,'[]','2030-01-01T00:00:00.000000+00:00','2030-01-01T00:00:00.000000+00:00','2030-01-01T00:00:00.000000+00:00','2030-01-01T00:00:02.000000+00:00',NULL);
INSERT INTO "model_servers" VALUES('f2a3ae03-083e-4335-9411-a8a70fa4392d','http://10.0.0.6:8000','admin',NULL,'llama.cpp',1,NULL,0,1.0,'everyone','{}','{}',0,'',NULL,0,'',NULL,0,'',NULL,0,'',NULL,'healthy','connection refused',1,0,'[]','2030-01-01T00:00:02.000000+00:00','2030-01-01T00:00:01.000000+00:00','2030-01-01T00:00:01.000000+00:00','2030-01-01T00:00:01.000000+00:00',NULL);
INSERT INTO "model_servers" VALUES('128d22e3-cfe0-4bd6-accd-fe3be2cb15ff','http://10.0.0.7:8000','admin',NULL,'llama.cpp',1,NULL,0,1.0,'everyone','{}','{}',0,'',NULL,0,'',NULL,0,'',NULL,0,'',NULL,'healthy','',0,1,'[]','2030-01-01T00:00:02.000000+00:00','2030-01-01T00:00:02.000000+00:00','2030-01-01T00:00:02.000000+00:00','2030-01-01T00:00:02.000000+00:00','2030-01-01T00:00:02.000000+00:00');
CREATE TABLE server_models (
	server_id VARCHAR(36) NOT NULL,
	name TEXT NOT NULL,
	upstream_name TEXT NOT NULL,
	context_length INTEGER,
	position INTEGER NOT NULL,
	CONSTRAINT pk_server_models PRIMARY KEY (server_id, name),
	CONSTRAINT fk_server_models_server_id_model_servers FOREIGN KEY(server_id) REFERENCES model_servers (id) ON DELETE CASCADE
);
INSERT INTO "server_models" VALUES('f2a3ae03-083e-4335-9411-a8a70fa4392d','a','a',NULL,0);
INSERT INTO "server_models" VALUES('f2a3ae03-083e-4335-9411-a8a70fa4392d','b','b',NULL,1);
INSERT INTO "server_models" VALUES('128d22e3-cfe0-4bd6-accd-fe3be2cb15ff','llama-3-8b','llama-3-8b',NULL,0);
INSERT INTO "server_models" VALUES('8a6a4429-ddfe-45ac-9cba-60576f75d7c7','llama','llama-3-8b',NULL,0);
CREATE INDEX ix_model_servers_health_status ON model_servers (health_status);
CREATE INDEX ix_model_servers_deleted_at ON model_servers (deleted_at);
CREATE INDEX ix_model_servers_owner ON model_servers (owner);
CREATE UNIQUE INDEX uq_model_servers_live_endpoint ON model_servers (endpoint_url) WHERE deleted_at IS NULL;
CREATE INDEX ix_server_models_name ON server_models (name);
CREATE INDEX ix_health_checks_server_id_checked_at ON health_checks (server_id, checked_at DESC);
COMMIT;
PRAGMA user_version = 1;

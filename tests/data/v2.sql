-- A database of schema version 2, with a reload in every state, and its audit: what iterdump() of Python's sqlite3 told.
BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	user_id TEXT NOT NULL, 
	team_id TEXT NOT NULL, 
	channel_id TEXT NOT NULL, 
	what TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	reload_id TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1700000000.0,'U0ADA','T0TRYOUT','C0MODELS','done','requested','U0ADA','rel2aa');
INSERT INTO "audit" VALUES(2,1700000000.0,'U0BEN','T0TRYOUT','C0OPS','done','joined','U0BEN','rel2aa');
INSERT INTO "audit" VALUES(3,1700000120.0,'U0ADA','T0TRYOUT','C0MODELS','closing','requested','U0ADA','rel4aa');
INSERT INTO "audit" VALUES(4,1700000240.0,'U0BEN','T0TRYOUT','C0MODELS','undeliverable','requested','U0BEN','rel5aa');
INSERT INTO "audit" VALUES(5,1700000240.0,'U0ADA','T0TRYOUT','C0MODELS','failed','requested','U0ADA','rel6aa');
INSERT INTO "audit" VALUES(6,1700000240.0,'U0BEN','T0TRYOUT','C0OPS','telling','requested','U0BEN','rel7aa');
INSERT INTO "audit" VALUES(7,1700000300.0,'U0ADA','T0TRYOUT','C0MODELS','accepted','requested','U0ADA','rel8aa');
INSERT INTO "audit" VALUES(8,1700000300.0,'W0CEM','T0TRYOUT','C0OPS','accepted','joined','W0CEM','rel8aa');
INSERT INTO "audit" VALUES(9,1700000300.0,'W0CEM','T0TRYOUT','C0MODELS','in-hand','requested','W0CEM','relaaa');
INSERT INTO "audit" VALUES(10,1700000300.0,'U0ADA','T0TRYOUT','C0MODELS','requested','requested','U0ADA','relbaa');
INSERT INTO "audit" VALUES(11,1700000300.0,'U0EVE','T0TRYOUT','C0OPS','sdxl','not_allowed','ALLOWED_USERS',NULL);
CREATE TABLE place (
	reload_id TEXT NOT NULL, 
	channel_id TEXT NOT NULL, 
	status_ts TEXT NOT NULL, 
	PRIMARY KEY (reload_id, channel_id), 
	FOREIGN KEY(reload_id) REFERENCES reload (id) ON DELETE CASCADE
);
INSERT INTO "place" VALUES('rel2aa','C0MODELS','');
INSERT INTO "place" VALUES('rel2aa','C0OPS','');
INSERT INTO "place" VALUES('rel4aa','C0MODELS','1700000120.000100');
INSERT INTO "place" VALUES('rel7aa','C0OPS','');
INSERT INTO "place" VALUES('rel8aa','C0MODELS','1700000300.000100');
INSERT INTO "place" VALUES('rel8aa','C0OPS','');
CREATE TABLE reload (
	id TEXT NOT NULL, 
	model_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	accepted_at DOUBLE, 
	ready_at DOUBLE, 
	ended_at DOUBLE, 
	failure TEXT, 
	said TEXT NOT NULL, 
	unknown BOOLEAN NOT NULL, 
	undeliverable BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "reload" VALUES('rel2aa','done','done',1700000000.0,1700000000.0,1700000120.0,1700000120.0,NULL,'',0,0);
INSERT INTO "reload" VALUES('rel4aa','closing','done',1700000120.0,1700000120.0,1700000240.0,1700000240.0,NULL,'',0,0);
INSERT INTO "reload" VALUES('rel5aa','undeliverable','done',1700000240.0,NULL,NULL,1700000240.0,'CREDITS','Out of credits',0,1);
INSERT INTO "reload" VALUES('rel6aa','failed','telling',1700000240.0,NULL,NULL,NULL,'UNKNOWN_MODEL','',1,0);
INSERT INTO "reload" VALUES('rel7aa','telling','telling',1700000240.0,1700000240.0,1700000240.0,NULL,NULL,'',0,0);
INSERT INTO "reload" VALUES('rel8aa','accepted','accepted',1700000300.0,1700000300.0,1700000420.0,NULL,NULL,'',0,0);
INSERT INTO "reload" VALUES('relaaa','in-hand','requested',1700000300.0,NULL,NULL,NULL,NULL,'',0,0);
INSERT INTO "reload" VALUES('relbaa','requested','requested',1700000300.0,NULL,NULL,NULL,NULL,'',0,0);
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(2);
CREATE TABLE step (
	id INTEGER NOT NULL, 
	reload_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	channel_id TEXT NOT NULL, 
	watcher_id INTEGER, 
	due_at DOUBLE NOT NULL, 
	tried_at DOUBLE, 
	lease_owner TEXT, 
	claims INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(reload_id) REFERENCES reload (id) ON DELETE CASCADE
);
INSERT INTO "step" VALUES(1,'rel4aa','close',4,'C0MODELS',NULL,1700000240.0,NULL,NULL,0,0,0);
INSERT INTO "step" VALUES(2,'rel6aa','follow_up',0,'C0MODELS',NULL,1700000240.0,1700000240.0,NULL,1,0,0);
INSERT INTO "step" VALUES(3,'rel7aa','direct',1,'C0OPS',6,1700000240.0,NULL,NULL,0,0,0);
INSERT INTO "step" VALUES(5,'rel8aa','follow_up',0,'C0MODELS',NULL,1700000420.0,NULL,NULL,0,0,0);
INSERT INTO "step" VALUES(6,'rel8aa','status',3,'C0OPS',NULL,1700000300.0,1700000300.0,NULL,1,0,0);
INSERT INTO "step" VALUES(7,'rel8aa','follow_up',0,'C0OPS',NULL,1700000420.0,NULL,NULL,0,0,0);
INSERT INTO "step" VALUES(8,'relaaa','call',2,'',NULL,1700000310.0,1700000300.0,'one',1,0,0);
INSERT INTO "step" VALUES(9,'relbaa','call',2,'',NULL,1700000300.0,NULL,NULL,0,0,0);
CREATE TABLE watcher (
	id INTEGER NOT NULL, 
	reload_id TEXT NOT NULL, 
	trigger_id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	channel_id TEXT NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	response_url TEXT NOT NULL, 
	response_uses INTEGER NOT NULL, 
	told_at DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(reload_id) REFERENCES reload (id) ON DELETE CASCADE, 
	UNIQUE (trigger_id)
);
INSERT INTO "watcher" VALUES(1,'rel2aa','trigger-1','U0ADA','C0MODELS',1700000000.0,'',0,1700000120.0);
INSERT INTO "watcher" VALUES(2,'rel2aa','trigger-2','U0BEN','C0OPS',1700000000.0,'',0,1700000120.0);
INSERT INTO "watcher" VALUES(3,'rel4aa','trigger-3','U0ADA','C0MODELS',1700000120.0,'',0,1700000240.0);
INSERT INTO "watcher" VALUES(4,'rel5aa','trigger-4','U0BEN','C0MODELS',1700000240.0,'',0,NULL);
INSERT INTO "watcher" VALUES(5,'rel6aa','trigger-5','U0ADA','C0MODELS',1700000240.0,'',0,NULL);
INSERT INTO "watcher" VALUES(6,'rel7aa','trigger-6','U0BEN','C0OPS',1700000240.0,'',0,NULL);
INSERT INTO "watcher" VALUES(7,'rel8aa','trigger-7','U0ADA','C0MODELS',1700000300.0,'',0,NULL);
INSERT INTO "watcher" VALUES(8,'rel8aa','trigger-8','W0CEM','C0OPS',1700000300.0,'',0,NULL);
INSERT INTO "watcher" VALUES(9,'relaaa','trigger-9','W0CEM','C0MODELS',1700000300.0,'',0,NULL);
INSERT INTO "watcher" VALUES(10,'relbaa','trigger-10','U0ADA','C0MODELS',1700000300.0,'',0,NULL);
CREATE INDEX by_asked_at ON reload (asked_at);
CREATE UNIQUE INDEX one_in_flight ON reload (model_id) WHERE state IN ('requested', 'accepted');
CREATE INDEX ix_watcher_reload_id ON watcher (reload_id);
CREATE INDEX ix_step_due_at ON step (due_at);
CREATE INDEX ix_step_reload_id ON step (reload_id);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX audit_by_person ON audit (user_id, at) WHERE reload_id IS NOT NULL;
COMMIT;

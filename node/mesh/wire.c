/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/wire.h"

#include "node/mesh/job.h"

#define NONCE_END (UINT64_C(1) << 32)

static const struct field cap_info_fields[] = {
    FIELD_STR(struct cap_info, name, 96, "capability"),
    FIELD_U64(struct cap_info, rate, 0, "measured, H/s; 0: not measured"),
    FIELD_U64(struct cap_info, free, 100, "percent of it free now"),
    FIELD_U64(struct cap_info, devices, 0, "devices behind it"),
    FIELD_U64(struct cap_info, slots, 0, "units it takes at once"),
    FIELD_U64(struct cap_info, price, 0, "credits per 2^32 hashes"),
    FIELD_STR(struct cap_info, region, CAP_REGION_MAX,
	      "where it is, in its owner's words"),
    FIELD_BOOL(struct cap_info, hardware, "dedicated chips"),
    FIELD_STR(struct cap_info, paused, CAP_PAUSED_MAX,
	      "why it takes no work now; nil: it does"),
};
const struct message cap_info_message =
    MESSAGE("cap_info", struct cap_info, cap_info_fields);

static const struct field method_info_fields[] = {
    FIELD_STR(struct method_info, name, 64, "method"),
    FIELD_U64(struct method_info, version, 0, "version of its messages"),
    FIELD_STR(struct method_info, right, 16, "who may call it"),
    FIELD_STR(struct method_info, doc, 256, "one line"),
};
const struct message method_info_message =
    MESSAGE("method_info", struct method_info, method_info_fields);

static const struct field ping_fields[] = {
    FIELD_U64(struct ping, token, 0, "comes back as it was"),
    FIELD_U64(struct ping, unix_ms, 0, "sender's wall clock"),
};
const struct message ping_message = MESSAGE("ping", struct ping, ping_fields);

static const struct field node_info_fields[] = {
    FIELD_FIXED(struct node_info, id, "node id"),
    FIELD_STR(struct node_info, name, 40, "name for people"),
    FIELD_STR(struct node_info, software, 64, "program and version"),
    FIELD_U64(struct node_info, protocol, 0, "protocol version"),
    FIELD_STR(struct node_info, mesh, 64, "name of the mesh"),
    FIELD_FIXED(struct node_info, mesh_id, "mesh id"),
    FIELD_STR(struct node_info, role, 8, "serve, use or both"),
    FIELD_U64(struct node_info, uptime_ms, 0, "since start"),
    FIELD_U64(struct node_info, unix_ms, 0, "wall clock"),
    FIELD_LIST(struct node_info, offers, 64, &cap_info_message,
	       "what it offers"),
    FIELD_U64(struct node_info, cores, 0, "cores it may use"),
    FIELD_U64(struct node_info, ram_mib, 0, "memory"),
    FIELD_STR(struct node_info, cpu, 128, "kernels this CPU can run"),
    FIELD_STRS(struct node_info, address, 64, "announced addresses"),
    FIELD_LIST(struct node_info, methods, 128, &method_info_message,
	       "its methods"),
    FIELD_U64(struct node_info, suites, 0, "bit 0 ChaChaPoly, bit 1 AESGCM"),
    FIELD_U64(struct node_info, dht_port, 65535, "UDP; 0: no DHT"),
    FIELD_STRS(struct node_info, topics, 256, "offered and joined topics"),
};
const struct message node_info_message =
    MESSAGE("node_info", struct node_info, node_info_fields);

static const struct field node_health_fields[] = {
    FIELD_STR(struct node_health, word, 16, "healthy or degraded"),
    FIELD_STRS(struct node_health, reasons, 32, "why, and what to do"),
};
const struct message node_health_message =
    MESSAGE("node_health", struct node_health, node_health_fields);

static const struct field node_changed_fields[] = {
    FIELD_U64(struct node_changed, seq, 0, "ascending since its start"),
    FIELD_LIST(struct node_changed, offers, 64, &cap_info_message,
	       "what it offers now"),
    FIELD_STRS(struct node_changed, topics, 256, "offered and joined topics"),
};
const struct message node_changed_message =
    MESSAGE("node_changed", struct node_changed, node_changed_fields);

static const struct field node_unreachable_fields[] = {
    FIELD_STR(struct node_unreachable, address, 128,
	      "the address that was tried"),
    FIELD_STR(struct node_unreachable, error, 200, "what happened"),
    FIELD_BOOL(struct node_unreachable, all, "no other address works, either"),
};
const struct message node_unreachable_message = MESSAGE(
    "node_unreachable", struct node_unreachable, node_unreachable_fields);

static const struct field wire_id_fields[] = {
    FIELD_FIXED(struct wire_id, id, "node id"),
};
const struct message wire_id_message =
    MESSAGE("wire_id", struct wire_id, wire_id_fields);

static const struct field mesh_newkey_fields[] = {
    FIELD_U64(struct mesh_newkey, generation, 0, "counts rekeys"),
    FIELD_FIXED(struct mesh_newkey, mesh_key, "the new mesh key"),
    FIELD_LIST(struct mesh_newkey, excluded, 1024, &wire_id_message,
	       "nodes left out"),
    FIELD_FIXED(struct mesh_newkey, sig, "the mesh owner's signature"),
};
const struct message mesh_newkey_message =
    MESSAGE("mesh_newkey", struct mesh_newkey, mesh_newkey_fields);

static const struct field mesh_enroll_fields[] = {
    FIELD_STR(struct mesh_enroll, software, 64, "program and version"),
    FIELD_FIXED(struct mesh_enroll, owner,
		"the newcomer's owner; zero: itself"),
};
const struct message mesh_enroll_message =
    MESSAGE("mesh_enroll", struct mesh_enroll, mesh_enroll_fields);

static const struct field known_node_fields[] = {
    FIELD_FIXED(struct known_node, id, "node id"),
    FIELD_STRS(struct known_node, address, 64, "session addresses"),
    FIELD_STRS(struct known_node, dht, 64, "DHT addresses"),
};
const struct message known_node_message =
    MESSAGE("known_node", struct known_node, known_node_fields);

static const struct field mesh_enrolled_fields[] = {
    FIELD_STR(struct mesh_enrolled, mesh, 64, "name of the mesh"),
    FIELD_FIXED(struct mesh_enrolled, mesh_key, "the mesh key"),
    FIELD_FIXED(struct mesh_enrolled, owner, "the mesh owner's key"),
    FIELD_U64(struct mesh_enrolled, generation, 0, "counts rekeys"),
    FIELD_BYTES(struct mesh_enrolled, cert, 512, "the newcomer's certificate"),
    FIELD_LIST(struct mesh_enrolled, excluded, 1024, &wire_id_message,
	       "nodes left out"),
    FIELD_LIST(struct mesh_enrolled, known, 64, &known_node_message,
	       "whom to dial first"),
    FIELD_FIXED(struct mesh_enrolled, rekey_sig, "of the last rekey"),
};
const struct message mesh_enrolled_message =
    MESSAGE("mesh_enrolled", struct mesh_enrolled, mesh_enrolled_fields);

static const struct field hash_search_fields[] = {
    FIELD_STR(struct hash_search, job, 16, "job id"),
    FIELD_U64(struct hash_search, lease, 0, "lease id"),
    FIELD_FIXED(struct hash_search, header,
		"80 bytes as hashed; the nonce in it is ignored"),
    FIELD_U64(struct hash_search, start, NONCE_END, "first nonce"),
    FIELD_U64(struct hash_search, end, NONCE_END, "one past the last"),
    FIELD_U64(struct hash_search, share_bits, 32,
	      "leading zero bits of a share"),
    FIELD_U64(struct hash_search, expected_ms, 0, "what the submitter expects"),
};
const struct message hash_search_message =
    MESSAGE("hash_search", struct hash_search, hash_search_fields);

static const struct field search_progress_fields[] = {
    FIELD_U64(struct search_progress, below, NONCE_END,
	      "every nonce below it is done"),
    FIELD_U32S(struct search_progress, shares, 65536, "new shares, ascending"),
};
const struct message search_progress_message =
    MESSAGE("search_progress", struct search_progress, search_progress_fields);

static const struct field hash_searched_fields[] = {
    FIELD_U64(struct hash_searched, hashes, 0, "nonces tried"),
    FIELD_U64(struct hash_searched, shares, 0, "shares reported in all"),
    FIELD_FIXED(struct hash_searched, sig, "the worker's signature"),
};
const struct message hash_searched_message =
    MESSAGE("hash_searched", struct hash_searched, hash_searched_fields);

static const struct field hash_batch_fields[] = {
    FIELD_U64(struct hash_batch, rounds, 2, "1 SHA-256, 2 SHA-256d"),
    FIELD_FIXED(struct hash_batch, peer,
		"who shall do it; zero: the node called"),
};
const struct message hash_batch_message =
    MESSAGE("hash_batch", struct hash_batch, hash_batch_fields);

static const struct field batch_item_fields[] = {
    FIELD_BYTES(struct batch_item, data, BATCH_PART_MAX, "an input or a part"),
    FIELD_BOOL(struct batch_item, more, "the next item goes on with it"),
};
const struct message batch_item_message =
    MESSAGE("batch_item", struct batch_item, batch_item_fields);

static const struct field batch_in_fields[] = {
    FIELD_U64(struct batch_in, first, 0, "index of the first item"),
    FIELD_LIST(struct batch_in, items, BATCH_ITEMS_MAX, &batch_item_message,
	       "inputs"),
};
const struct message batch_in_message =
    MESSAGE("batch_in", struct batch_in, batch_in_fields);

static const struct field batch_out_fields[] = {
    FIELD_U64(struct batch_out, first, 0, "index of the first digest"),
    FIELD_BYTES(struct batch_out, digests, BATCH_ITEMS_MAX * 32,
		"32 bytes each"),
};
const struct message batch_out_message =
    MESSAGE("batch_out", struct batch_out, batch_out_fields);

static const struct field batch_end_fields[] = {
    FIELD_U64(struct batch_end, count, 0, "inputs digested"),
    FIELD_FIXED(struct batch_end, by, "who did it"),
};
const struct message batch_end_message =
    MESSAGE("batch_end", struct batch_end, batch_end_fields);

static const struct field peer_info_fields[] = {
    FIELD_FIXED(struct peer_info, id, "node id"),
    FIELD_STR(struct peer_info, name, 40, "name for people"),
    FIELD_STR(struct peer_info, state, 16,
	      "self, ok, dialling, known, retry, left, lost, dropped"),
    FIELD_STR(struct peer_info, path, 16, "self, lan, direct, -"),
    FIELD_STR(struct peer_info, address, 128,
	      "of the session, else the first announced"),
    FIELD_U64(struct peer_info, rtt_us, 0, "round trip; 0: not measured"),
    FIELD_STR(struct peer_info, role, 8, "serve, use or both"),
    FIELD_LIST(struct peer_info, offers, 64, &cap_info_message,
	       "what it offers"),
    FIELD_STRS(struct peer_info, topics, 64, "topics it was seen under"),
    FIELD_STR(struct peer_info, software, 64, "program and version"),
    FIELD_STR(struct peer_info, cpu, 128, "kernels its CPU can run"),
    FIELD_U64(struct peer_info, cores, 0, "cores"),
    FIELD_U64(struct peer_info, ram_mib, 0, "memory"),
    FIELD_U64(struct peer_info, age_ms, 0, "since we last heard of it"),
    FIELD_U64(struct peer_info, record_seq, 0, "of its newest record"),
    FIELD_U64(struct peer_info, session_ms, 0,
	      "how long the session is up; 0: none"),
    FIELD_U64(struct peer_info, bytes_in, 0, "on this session"),
    FIELD_U64(struct peer_info, bytes_out, 0, "on this session"),
    FIELD_I64(struct peer_info, clock_ms, "its clock minus ours"),
    FIELD_STR(struct peer_info, why, 200, "of retry, lost and dropped"),
    FIELD_U64(struct peer_info, retry_ms, 0, "until the next dial"),
    FIELD_STR(struct peer_info, source, 16,
	      "dht, lan, dial, invite, stored, inbound"),
    FIELD_U64(struct peer_info, score, 0,
	      "what this node thinks of it, permille; 500 for a stranger"),
    FIELD_STR(struct peer_info, trust, 16,
	      "new, trusted, quarantined, probation, barred"),
    FIELD_STR(struct peer_info, reasons, 400, "of the score, faded counts"),
    FIELD_STR(struct peer_info, trust_why, 200, "why it gets no work"),
    FIELD_U64(struct peer_info, until_ms, 0, "until its next probe"),
    FIELD_U64(struct peer_info, units, 0, "done for us, faded"),
    FIELD_U64(struct peer_info, fails, 0, "failures, faded"),
    FIELD_U64(struct peer_info, measured, 0,
	      "H/s at work for us; what it claims is in offers"),
    FIELD_U64(struct peer_info, sent, 0,
	      "TCP segments sent in the session; 0: not known"),
    FIELD_U64(struct peer_info, resent, 0,
	      "of them again: lost on the way, or late"),
};
const struct message peer_info_message =
    MESSAGE("peer_info", struct peer_info, peer_info_fields);

static const struct field peers_query_fields[] = {
    FIELD_STR(struct peers_query, topic, 96, "only this topic; null: all"),
    FIELD_STR(struct peers_query, cap, 96,
	      "only with this capability; null: any"),
    FIELD_U64(struct peers_query, min_rate, 0, "H/s at least"),
    FIELD_U64(struct peers_query, max_rtt_us, 0, "round trip at most; 0: any"),
    FIELD_U64(struct peers_query, wait_ms, 60000,
	      "a first look-up waits so long; 0: 2000"),
};
const struct message peers_query_message =
    MESSAGE("peers_query", struct peers_query, peers_query_fields);

static const struct field peers_list_fields[] = {
    FIELD_LIST(struct peers_list, peers, 4096, &peer_info_message,
	       "one row a node"),
};
const struct message peers_list_message =
    MESSAGE("peers_list", struct peers_list, peers_list_fields);

static const struct field peer_ref_fields[] = {
    FIELD_STR(struct peer_ref, peer, 128,
	      "id in hex, a unique prefix of it, or a name"),
};
const struct message peer_ref_message =
    MESSAGE("peer_ref", struct peer_ref, peer_ref_fields);

static const struct field peer_dial_fields[] = {
    FIELD_STR(struct peer_dial, address, 256, "ID@HOST:PORT"),
    FIELD_U64(struct peer_dial, timeout_ms, 0, "0: 10 s"),
};
const struct message peer_dial_message =
    MESSAGE("peer_dial", struct peer_dial, peer_dial_fields);

static const struct field peer_session_fields[] = {
    FIELD_FIXED(struct peer_session, id, "node id"),
    FIELD_STR(struct peer_session, name, 40, "name for people"),
    FIELD_STR(struct peer_session, address, 128, "host:port"),
    FIELD_STR(struct peer_session, path, 16, "self, lan, direct"),
    FIELD_U64(struct peer_session, rtt_us, 0, "round trip"),
};
const struct message peer_session_message =
    MESSAGE("peer_session", struct peer_session, peer_session_fields);

static const struct field peer_call_fields[] = {
    FIELD_STR(struct peer_call, peer, 128, "as in peer_ref"),
    FIELD_STR(struct peer_call, method, 64, "method"),
    FIELD_STR(struct peer_call, json, 65536, "the request; null: {}"),
    FIELD_U64(struct peer_call, timeout_ms, 0, "0: 10 s"),
};
const struct message peer_call_message =
    MESSAGE("peer_call", struct peer_call, peer_call_fields);

static const struct field peer_called_fields[] = {
    FIELD_STR(struct peer_called, json, 1048576, "the reply"),
};
const struct message peer_called_message =
    MESSAGE("peer_called", struct peer_called, peer_called_fields);

static const struct field topic_ref_fields[] = {
    FIELD_STR(struct topic_ref, topic, 96, "topic name"),
};
const struct message topic_ref_message =
    MESSAGE("topic_ref", struct topic_ref, topic_ref_fields);

static const struct field offer_add_fields[] = {
    FIELD_STR(struct offer_add, topic, 96, "capability"),
    FIELD_STRS(struct offer_add, limits, 32,
	       "NAME=VALUE such as share=50%; those not named stay"),
};
const struct message offer_add_message =
    MESSAGE("offer_add", struct offer_add, offer_add_fields);

static const struct field lending_info_fields[] = {
    FIELD_BOOL(struct lending_info, active, "something is offered"),
    FIELD_BOOL(struct lending_info, allowed, "others' work is taken now"),
    FIELD_U64(struct lending_info, share, 1000,
	      "of the device's time they get now, permille"),
    FIELD_STR(struct lending_info, why, CAP_PAUSED_MAX,
	      "of a pause or a lower share"),
    FIELD_U64(struct lending_info, change_ms, 0,
	      "until that may change; 0: not known"),
    FIELD_U64(struct lending_info, units, 0, "units of others here now"),
    FIELD_U64(struct lending_info, jobs, 0, "jobs of others here now"),
    FIELD_OPT_U64(struct lending_info, others,
		  "of the processors, used by others, permille"),
    FIELD_OPT_U64(struct lending_info, input_ms, "since somebody typed"),
    FIELD_STR(struct lending_info, on_battery, 8, "yes, no or unknown"),
    FIELD_OPT_U64(struct lending_info, charge, "of the battery, percent"),
    FIELD_OPT_U64(struct lending_info, heat, "thousandths of a degree Celsius"),
    FIELD_STR(struct lending_info, heat_of, 32, "the hottest sensor"),
    FIELD_STR(struct lending_info, blind, 96,
	      "limits that no sensor speaks for"),
    FIELD_STRS(struct lending_info, limits, 32, "all limits, NAME=VALUE"),
    FIELD_STR(struct lending_info, summary, 512, "the limits that are set"),
};
const struct message lending_info_message =
    MESSAGE("lending_info", struct lending_info, lending_info_fields);

static const struct field topic_info_fields[] = {
    FIELD_STR(struct topic_info, topic, 96, "topic name"),
    FIELD_FIXED(struct topic_info, id, "topic id"),
    FIELD_BOOL(struct topic_info, offered, "we offer it"),
    FIELD_BOOL(struct topic_info, joined, "we joined it"),
    FIELD_BOOL(struct topic_info, followed, "we follow it"),
    FIELD_U64(struct topic_info, peers, 0, "live records of others"),
};
const struct message topic_info_message =
    MESSAGE("topic_info", struct topic_info, topic_info_fields);

static const struct field topic_list_fields[] = {
    FIELD_LIST(struct topic_list, topics, 256, &topic_info_message,
	       "one row a topic"),
};
const struct message topic_list_message =
    MESSAGE("topic_list", struct topic_list, topic_list_fields);

static const struct field site_offer_fields[] = {
    FIELD_LIST(struct site_offer, offers, 64, &cap_info_message,
	       "all that it offers, as it is now"),
};
const struct message site_offer_message =
    MESSAGE("site_offer", struct site_offer, site_offer_fields);

static const struct field site_name_fields[] = {
    FIELD_STR(struct site_name, name, 32, "of the site"),
};
const struct message site_name_message =
    MESSAGE("site_name", struct site_name, site_name_fields);

static const struct field site_node_fields[] = {
    FIELD_FIXED(struct site_node, id, "node id"),
    FIELD_STR(struct site_node, name, 40, "name for people"),
    FIELD_BOOL(struct site_node, here, "it takes work"),
    FIELD_U64(struct site_node, rate, 0, "H/s, measured or as it says"),
    FIELD_U64(struct site_node, devices, 0, "devices of it"),
    FIELD_U64(struct site_node, parts, 0, "parts done for the site"),
    FIELD_U64(struct site_node, nonces, 0, "nonces done for the site"),
    FIELD_U64(struct site_node, held, 0, "parts in its hands"),
};
const struct message site_node_message =
    MESSAGE("site_node", struct site_node, site_node_fields);

static const struct field site_info_fields[] = {
    FIELD_STR(struct site_info, name, 32, "of the site; nil: in none"),
    FIELD_STR(struct site_info, head, 40, "whom this node is behind"),
    FIELD_BOOL(struct site_info, joined, "and that one has taken it"),
    FIELD_LIST(struct site_info, behind, 1024, &site_node_message,
	       "nodes behind this one"),
};
const struct message site_info_message =
    MESSAGE("site_info", struct site_info, site_info_fields);

static const struct field offer_list_fields[] = {
    FIELD_LIST(struct offer_list, offers, 64, &cap_info_message,
	       "what this node offers"),
    FIELD_MSG(struct offer_list, lending, &lending_info_message,
	      "what the owner's limits say now"),
};
const struct message offer_list_message =
    MESSAGE("offer_list", struct offer_list, offer_list_fields);

static const struct field mesh_invite_fields[] = {
    FIELD_U64(struct mesh_invite, uses, 1000, "how often it works; 0: once"),
    FIELD_U64(struct mesh_invite, life_ms, 0, "0: 24 h"),
    FIELD_STR(struct mesh_invite, mesh, 64,
	      "name for a new private mesh; null: home"),
    FIELD_BOOL(struct mesh_invite, yes, "leave public without asking"),
};
const struct message mesh_invite_message =
    MESSAGE("mesh_invite", struct mesh_invite, mesh_invite_fields);

static const struct field mesh_invited_fields[] = {
    FIELD_STR(struct mesh_invited, invite, 2048,
	      "one word; null: yes is needed first"),
    FIELD_STR(struct mesh_invited, mesh, 64, "name of the mesh"),
    FIELD_U64(struct mesh_invited, expires_ms, 0, "until when"),
    FIELD_U64(struct mesh_invited, uses, 0, "how often"),
    FIELD_BOOL(struct mesh_invited, new_mesh, "this node leaves public"),
};
const struct message mesh_invited_message =
    MESSAGE("mesh_invited", struct mesh_invited, mesh_invited_fields);

static const struct field mesh_rekey_fields[] = {
    FIELD_STRS(struct mesh_rekey, without, 1024,
	       "nodes to leave out: ids in hex or names"),
};
const struct message mesh_rekey_message =
    MESSAGE("mesh_rekey", struct mesh_rekey, mesh_rekey_fields);

static const struct field mesh_rekeyed_fields[] = {
    FIELD_U64(struct mesh_rekeyed, generation, 0, "counts rekeys"),
    FIELD_U64(struct mesh_rekeyed, told, 0, "nodes that have the new key now"),
    FIELD_U64(struct mesh_rekeyed, excluded, 0, "nodes left out"),
};
const struct message mesh_rekeyed_message =
    MESSAGE("mesh_rekeyed", struct mesh_rekeyed, mesh_rekeyed_fields);

static const struct field counter_fields[] = {
    FIELD_STR(struct counter, name, 64, "counter"),
    FIELD_U64(struct counter, value, 0, "since start"),
};
const struct message counter_message =
    MESSAGE("counter", struct counter, counter_fields);

static const struct field device_info_fields[] = {
    FIELD_STR(struct device_info, id, 32, "device"),
    FIELD_STR(struct device_info, model, 32, "model"),
    FIELD_STR(struct device_info, kernel, 32, "kernel in use"),
    FIELD_BOOL(struct device_info, hardware, "false: software"),
    FIELD_U64(struct device_info, threads, 0, "worker threads"),
    FIELD_U64(struct device_info, rate, 0, "measured, H/s"),
    FIELD_U64(struct device_info, hashes, 0, "since start"),
    FIELD_U64(struct device_info, shares, 0, "claims that were right"),
    FIELD_U64(struct device_info, hw_errors, 0, "claims that were wrong"),
    FIELD_U64(struct device_info, running, 0, "units at work"),
    FIELD_U64(struct device_info, queued, 0, "units waiting"),
};
const struct message device_info_message =
    MESSAGE("device_info", struct device_info, device_info_fields);

static const struct field node_status_fields[] = {
    FIELD_STR(struct node_status, word, 16, "healthy or degraded"),
    FIELD_STRS(struct node_status, reasons, 32, "why, and what to do"),
    FIELD_FIXED(struct node_status, id, "node id"),
    FIELD_STR(struct node_status, name, 40, "name for people"),
    FIELD_STR(struct node_status, software, 64, "program and version"),
    FIELD_STR(struct node_status, mesh, 64, "name of the mesh"),
    FIELD_STR(struct node_status, role, 8, "serve, use or both"),
    FIELD_STR(struct node_status, data_dir, 4096, "data directory"),
    FIELD_FIXED(struct node_status, mesh_id, "mesh id"),
    FIELD_U64(struct node_status, pid, 0, "process"),
    FIELD_U64(struct node_status, uptime_ms, 0, "since start"),
    FIELD_U64(struct node_status, port, 0, "of sessions; 0: none"),
    FIELD_U64(struct node_status, sessions, 0, "up now"),
    FIELD_U64(struct node_status, peers_known, 0, "nodes heard of"),
    FIELD_U64(struct node_status, jobs_open, 0, "jobs not ended"),
    FIELD_STR(struct node_status, dht, 16, "off, alone or connected"),
    FIELD_STRS(struct node_status, address, 64, "announced addresses"),
    FIELD_STRS(struct node_status, bootstraps, 64, "DHT addresses given"),
    FIELD_LIST(struct node_status, offers, 64, &cap_info_message,
	       "what this node offers"),
    FIELD_LIST(struct node_status, topics, 256, &topic_info_message,
	       "topics of this node"),
    FIELD_LIST(struct node_status, devices, 64, &device_info_message,
	       "devices"),
    FIELD_I64(struct node_status, clock_ms,
	      "median of the sessions minus ours"),
    FIELD_LIST(struct node_status, counters, 256, &counter_message, "counters"),
    FIELD_U64(struct node_status, rss_kib, 0, "resident memory"),
    FIELD_MSG(struct node_status, lending, &lending_info_message,
	      "what the owner's limits say now"),
    FIELD_U64(struct node_status, quarantined, 0,
	      "peers that get no work for a while"),
    FIELD_U64(struct node_status, barred, 0, "peers that were proven to cheat"),
    FIELD_MSG(struct node_status, site, &site_info_message,
	      "the site that it heads or is in"),
};
const struct message node_status_message =
    MESSAGE("node_status", struct node_status, node_status_fields);

static const struct field job_ref_fields[] = {
    FIELD_STR(struct job_ref, job, 16, "id, or a unique prefix of it"),
    FIELD_U64(struct job_ref, detail, 2, "0 brief, 1 by peer, 2 and units"),
};
const struct message job_ref_message =
    MESSAGE("job_ref", struct job_ref, job_ref_fields);

static const struct field job_list_fields[] = {
    FIELD_LIST(struct job_list, jobs, 512, &job_info_message, "one row a job"),
};
const struct message job_list_message =
    MESSAGE("job_list", struct job_list, job_list_fields);

static const struct field job_made_fields[] = {
    FIELD_STR(struct job_made, job, 16, "job id"),
};
const struct message job_made_message =
    MESSAGE("job_made", struct job_made, job_made_fields);

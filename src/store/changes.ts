/**
 * The change log: one row per thing that changed last, numbered in the order of the commits. The number comes from a
 * counter row that the writing transaction holds until it ends, not from a sequence: sequence values can become visible
 * out of order on PostgreSQL, and a reader with a cursor would skip the late one. A newer change of a thing replaces its
 * older row, so the table is as small as the number of things.
 */
import type { Change, ChangeLog } from "./store.ts";
import type { Database, WriteTx } from "./db.ts";

/** Locks order: rows of the noun, then the `table` counter, then the `changes` counter, in every transaction. */
export const recordChange = async (tx: WriteTx, kind: Change["kind"], id: string): Promise<void> => {
  const { value } = await tx.sql
    .updateTable("counters")
    .set((eb) => ({ value: eb("value", "+", 1) }))
    .where("name", "=", "changes")
    .returning("value")
    .executeTakeFirstOrThrow();
  await tx.sql
    .insertInto("changes")
    .values({ kind, id, seq: value })
    .onConflict((oc) => oc.columns(["kind", "id"]).doUpdateSet({ seq: value }))
    .execute();
  tx.announce();
};

/** Raises the routing table's version; returns the new one. */
export const raiseTableVersion = async (tx: WriteTx): Promise<number> => {
  const { value } = await tx.sql
    .updateTable("counters")
    .set((eb) => ({ value: eb("value", "+", 1) }))
    .where("name", "=", "table")
    .returning("value")
    .executeTakeFirstOrThrow();
  return value;
};

export const createChangeLog = (db: Database): ChangeLog => ({
  after: async (seq, limit) => {
    const rows = await db.read
      .selectFrom("changes")
      .select(["seq", "kind", "id"])
      .where("seq", ">", seq)
      .orderBy("seq")
      .limit(limit)
      .execute();
    return rows.map((row) => ({ seq: row.seq, kind: row.kind as Change["kind"], id: row.id }));
  },
  head: async () => {
    const row = await db.read
      .selectFrom("counters")
      .select("value")
      .where("name", "=", "changes")
      .executeTakeFirstOrThrow();
    return row.value;
  },
  onChange: (listener) => db.onChange(listener),
  prune: async (before) => {
    await db.read.deleteFrom("changes").where("seq", "<", before).execute();
  },
});

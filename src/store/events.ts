/** Histories of models and services: appended inside the transaction of what they tell about, read by filter. */
import { sql } from "kysely";
import { instant } from "../core/ids.ts";
import type { HistoryEvent } from "../core/model.ts";
import type { Database, WriteTx } from "./db.ts";
import { contains } from "./patterns.ts";
import type { EventRow } from "./schema.ts";
import type { EventFilter, EventStore } from "./store.ts";

/** Of one model or service, as many as a page of the API can show; a crash loop over weeks fills no disk. */
export const EVENTS_KEPT = 1000;
/** Rows of one insert; both databases limit the number of parameters. */
const BATCH = 500;

export const appendEvents = async (
  tx: WriteTx,
  subject: EventRow["subject"],
  id: string,
  events: readonly HistoryEvent[],
): Promise<void> => {
  for (let from = 0; from < events.length; from += BATCH) {
    const rows = events.slice(from, from + BATCH).map((event) => ({
      subject,
      subject_id: id,
      type: event.type,
      info: event.info,
      occurred_at: event.occurredAt,
    }));
    await tx.sql.insertInto("events").values(rows).execute();
  }
};

export const removeEvents = async (tx: WriteTx, subject: EventRow["subject"], id: string): Promise<void> => {
  await tx.sql.deleteFrom("events").where("subject", "=", subject).where("subject_id", "=", id).execute();
};

export const createEventStore = (db: Database): EventStore => {
  const list = (
    subject: EventRow["subject"],
    id: string,
    filter: EventFilter,
  ): Promise<{ total: number; rows: readonly HistoryEvent[] }> =>
    db.snapshot(async (tx) => {
      let matching = tx.selectFrom("events").where("subject", "=", subject).where("subject_id", "=", id);
      if (filter.type !== undefined) matching = matching.where("type", "=", filter.type);
      if (filter.info !== undefined) matching = matching.where(contains("info", filter.info));
      if (filter.from !== undefined) matching = matching.where("occurred_at", ">=", filter.from);
      if (filter.to !== undefined) matching = matching.where("occurred_at", "<=", filter.to);
      const { total } = await matching.select(sql<number>`count(*)`.as("total")).executeTakeFirstOrThrow();
      const rows = await matching
        .select(["type", "info", "occurred_at"])
        .orderBy("occurred_at", filter.order)
        .orderBy("id", filter.order)
        .offset(filter.offset)
        .limit(filter.limit)
        .execute();
      return { total, rows: rows.map(toEvent) };
    });
  return {
    ofModel: (id, filter) => list("model", id, filter),
    ofService: (id, filter) => list("service", id, filter),
    noteModel: (id, events) =>
      db.write(async (tx) => {
        // Holds the row, so that a model deleted at the same moment leaves no events behind.
        const model = await tx.sql
          .updateTable("models")
          .set((eb) => ({ id: eb.ref("id") }))
          .where("id", "=", id)
          .returning("id")
          .executeTakeFirst();
        if (model !== undefined) await appendEvents(tx, "model", id, events);
      }),
    prune: async (before) => {
      for (const [subject, at] of [
        ["model", before.models],
        ["service", before.services],
      ] as const) {
        await db.read
          .deleteFrom("events")
          .where("subject", "=", subject)
          .where("occurred_at", "<", at)
          .execute();
      }
      const place = sql<number>`row_number() over (partition by subject, subject_id order by id desc)`;
      await db.read
        .deleteFrom("events")
        .where("id", "in", (eb) =>
          eb
            .selectFrom((inner) =>
              inner
                .selectFrom("events")
                .select(["id", place.as("place")])
                .as("newest"),
            )
            .select("newest.id")
            .where("newest.place", ">", EVENTS_KEPT),
        )
        .execute();
    },
  };
};

const toEvent = (row: { type: string; info: string; occurred_at: number }): HistoryEvent => ({
  type: row.type as HistoryEvent["type"],
  info: row.info,
  occurredAt: instant(row.occurred_at),
});

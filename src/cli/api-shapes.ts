/** What the commands read of the API's answers: a part of the shapes of the ModelArts contract, not all of them. */

export interface ModelItem {
  readonly model_id: string;
  readonly model_name: string;
  readonly model_version: string;
  readonly model_type: string;
  readonly model_status: string;
  readonly model_size: number;
  readonly description: string;
  readonly create_at: number;
}

export interface ModelDetail extends ModelItem {
  readonly source_location?: string;
  readonly runtime?: string;
  /** The effective configuration as JSON text; empty before it was checked. */
  readonly config?: string;
  readonly template?: { readonly template_id: string; readonly infer_format?: string };
  readonly dynamic_loading?: boolean;
  readonly model_loaded?: boolean;
  readonly install_type?: readonly string[];
}

export interface EventItem {
  readonly event_type: string;
  readonly event_info: string;
  readonly occur_time: number;
}

export interface ServiceItem {
  readonly service_id: string;
  readonly service_name: string;
  readonly status: string;
  readonly progress?: number;
  readonly publish_at: number;
  readonly transition_at?: number;
  readonly invocation_times: number;
  readonly failed_times: number;
}

export interface ServiceConfigItem {
  readonly model_id: string;
  readonly model_name: string;
  readonly model_version: string;
  readonly status?: string;
  readonly specification: string;
  readonly custom_spec?: Readonly<Record<string, unknown>>;
  readonly weight: number;
  readonly instance_count: number;
  readonly envs?: Readonly<Record<string, string>>;
  readonly deploy_timeout_in_seconds?: number;
  readonly additional_properties?: Readonly<Record<string, unknown>>;
}

export interface ServiceDetail extends ServiceItem {
  readonly description: string;
  readonly access_address?: string;
  readonly error_msg?: string;
  readonly update_time?: number;
  readonly due_time?: number;
  readonly config: readonly ServiceConfigItem[];
}

export interface UpdateLog {
  readonly update_time: number;
  readonly result: "SUCCESS" | "FAIL" | "RUNNING";
}

export interface ObjectItem {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
  readonly modified_at: number | string;
}

export interface ObjectPage {
  readonly count: number;
  readonly objects: readonly ObjectItem[];
  readonly prefixes?: readonly string[];
  readonly next?: string | null;
}

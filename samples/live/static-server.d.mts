export declare const contentSecurityPolicy: string;
export declare const isolation: Readonly<Record<string, string>>;
export declare function serveStatic(options: {
  readonly mounts: Readonly<Record<string, string>>;
  readonly pages?: Readonly<Record<string, { readonly type: string; readonly body: string }>>;
  readonly headers?: (url: URL) => Record<string, string>;
  readonly port?: number;
}): Promise<{ readonly origin: string; close(): Promise<void> }>;

/** `deployment`: what the node is, and where its resources are. */

import { Type } from "../lib/schema.ts";
import { adminSection } from "./admin.ts";
import { etcdSection } from "./etcd.ts";
import { choice, section, withoutEffect } from "./kinds.ts";

export const deploymentSection = section(
  {
    role: choice(["traditional", "control_plane", "data_plane"], {
      default: "traditional",
      description:
        "What the node is. A control_plane has the Admin API and no traffic, a data_plane traffic and no Admin API.",
    }),
    role_traditional: section({
      config_provider: choice(["etcd", "yaml"], {
        default: "etcd",
        description:
          "etcd: in the one of `deployment.etcd`; without that section in the embedded store. yaml: the resources are one document " +
          "that is put through the Admin API (with `apisix.enable_admin: false`, apisix.yaml beside this file).",
      }),
    }),
    role_control_plane: section({
      config_provider: choice(["etcd"], { default: "etcd", description: "Where a control_plane writes." }),
    }),
    role_data_plane: section({
      config_provider: Type.Optional(
        choice(["etcd", "yaml", "json"], {
          description:
            "Where a data_plane has its resources: in an etcd, or in apisix.yaml or apisix.json beside this file.",
        }),
      ),
    }),
    admin: adminSection,
    etcd: etcdSection,
    certs: Type.Optional(withoutEffect("Certificates for etcd.")),
  },
  { description: "Role of the node and its Admin API." },
);

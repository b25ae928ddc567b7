/** What are servers called? Asked once for each; who may see a server's page gets a link to it. */

const known = new Map();

/**
 * @param {string} serverId
 * @returns {Promise<{name: string, url: string | null}>}
 */
export function nameOf(serverId) {
  if (!known.has(serverId)) known.set(serverId, look(serverId));
  return known.get(serverId);
}

async function look(serverId) {
  const unnamed = {name: `server ${serverId.slice(0, 8)}`, url: null};
  try {
    const response = await fetch(`/ui/playground/servers/${encodeURIComponent(serverId)}`);
    return response.ok ? await response.json() : unnamed;
  } catch {
    known.delete(serverId); // the next look may find it
    return unnamed;
  }
}

/** Put a server's name, as a link where there is one, into an element, when it is known. */
export async function writeName(element, serverId) {
  element.textContent = `server ${serverId.slice(0, 8)}`;
  const {name, url} = await nameOf(serverId);
  if (!url) {
    element.textContent = name;
    return;
  }
  const link = document.createElement("a");
  link.href = url;
  link.textContent = name;
  element.replaceChildren(link);
}

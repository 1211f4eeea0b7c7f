// Package pluginhost finds plugins, decides which to trust, launches them on
// first use, configures the components that they serve, and stops them. Start
// with New; a stack is opened with Manager.OpenStack.
package pluginhost

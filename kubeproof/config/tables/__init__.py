"""What is known of Kubernetes versions, container runtimes and operating systems, as tables. Pure, and read by all."""
